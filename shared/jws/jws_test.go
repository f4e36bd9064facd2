package jws_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/jws"
)

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// JW-11, JW-13: one spelling, each member once.
func TestSplit(t *testing.T) {
	good := encode(`{"alg":"ES256"}`) + "." + encode("payload") + "." + encode("signatures")
	header, payload, err := jws.Split(good, len(good))
	if err != nil || string(payload) != "payload" || string(header["alg"]) != `"ES256"` {
		t.Errorf("a good one: got %v %q %v", header, payload, err)
	}
	for name, raw := range map[string]string{
		"too long": good + "YQ", "no signature": good[:strings.LastIndex(good, ".")+1], "a line in it": good[:5] + "\n" + good[6:], "another spelling": good[:len(good)-1] + "x",
		"padded": good[:len(good)-2] + "==", "two parts": "YQ.YQ", "nothing": "", "no header": ".YQ.YQ", "a header that is no object": encode("[]") + ".YQ.YQ",
	} {
		if _, _, err := jws.Split(raw, len(good)); !errors.Is(err, jws.ErrForm) {
			t.Errorf("%s: got %v, want ErrForm", name, err)
		}
	}
}

func TestMembers(t *testing.T) {
	members, err := jws.Members([]byte(` {"a":1,"A":{"a":2}} `))
	if err != nil || len(members) != 2 || string(members["a"]) != "1" {
		t.Errorf("names that differ by case: got %v %v, want both", members, err)
	}
	for _, text := range []string{``, `null`, `[]`, `{`, `{"a":1}{}`, `{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `{"a":}`, `{a:1}`, "{\"\xff\":1}"} {
		if _, err := jws.Members([]byte(text)); !errors.Is(err, jws.ErrForm) {
			t.Errorf("%q: got %v, want ErrForm", text, err)
		}
	}
}
