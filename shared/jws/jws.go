// Package jws parses the compact form of signed tokens (RFC 7515 §7.1) strictly, before anything is
// verified.
package jws

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// ErrForm says that a text is no compact JWS, or its header not one unambiguous JSON object.
var ErrForm = errors.New("not a compact JWS with a header that is one JSON object with each member once")

// Split splits a compact JWS of at most most bytes into the header's members and the payload, both
// unverified. The base64url must be canonical, so that a token has one spelling, and a signature
// must be present.
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
	if header, err = strictjson.Map(head); err != nil {
		return nil, nil, ErrForm
	}
	return header, payload, nil
}

// NumericDate is a time in seconds since 1970 (RFC 7519 §2). It may have a fraction, which is
// dropped, or an exponent. null is zero.
type NumericDate int64

// maxFraction bounds a number that is not written as an integer: up to it each second is a distinct
// float64.
const maxFraction = 1 << 53

// UnmarshalJSON implements json.Unmarshaler.
func (d *NumericDate) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*d = 0
		return nil
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		*d = NumericDate(n)
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(f) > maxFraction {
		return errors.New("it is not a number of seconds since 1970")
	}
	*d = NumericDate(math.Floor(f))
	return nil
}
