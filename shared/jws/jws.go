// Package jws owns the compact form of signed tokens (RFC 7515 §7.1): taking one apart strictly, before anything in it is believed.
package jws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrForm says that something is no compact JWS, or no JSON object with each member once.
var ErrForm = errors.New("not a compact JWS of JSON objects with each member once")

// Split takes the compact form of at most most bytes apart: the header's members and the payload, of which nothing is believed yet. The base64url is the
// one canonical way to write the bytes, so that a token has one spelling (JW-11), and there is a signature.
func Split(raw string, most int) (header map[string]json.RawMessage, payload []byte, err error) {
	if len(raw) > most || strings.Count(raw, ".") != 2 {
		return nil, nil, ErrForm
	}
	first, rest, _ := strings.Cut(raw, ".")
	second, third, _ := strings.Cut(rest, ".")
	strict := base64.RawURLEncoding.Strict()
	head, err1 := strict.DecodeString(first)
	payload, err2 := strict.DecodeString(second)
	signature, err3 := strict.DecodeString(third)
	if err1 != nil || err2 != nil || err3 != nil || len(signature) == 0 || strings.ContainsAny(raw, "\r\n") {
		return nil, nil, ErrForm
	}
	header, err = Members(head)
	return header, payload, err
}

// Members reads the members of one JSON object, each name once (JW-13). encoding/json alone would take the last of two and fold their case.
func Members(data []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, ErrForm
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, ErrForm
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, ErrForm
		}
		var value json.RawMessage
		if _, twice := members[name]; twice || d.Decode(&value) != nil {
			return nil, ErrForm
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil || d.InputOffset() != int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, ErrForm
	}
	return members, nil
}
