package jws_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/jws"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
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
		"too long": good + "YQ", "no signature": good[:strings.LastIndex(good, ".")+1],
		"a line in it": good[:5] + "\n" + good[6:], "another spelling": good[:len(good)-1] + "x",
		"padded": good[:len(good)-2] + "==", "two parts": "YQ.YQ", "nothing": "", "no header": ".YQ.YQ",
		"a header that is no object": encode("[]") + ".YQ.YQ",
	} {
		if _, _, err := jws.Split(raw, len(good)); !errors.Is(err, jws.ErrForm) {
			t.Errorf("%s: got %v, want ErrForm", name, err)
		}
	}
}

// RFC 7519 §2: a time may have a fraction; of it the whole seconds count.
func TestNumericDate(t *testing.T) {
	for text, want := range map[string]int64{
		"1795896000": 1795896000, "1795896000.5": 1795896000, "1795896000.999": 1795896000,
		"1.7958960005e9": 1795896000, "-0.5": -1, "0": 0, "null": 0, "9223372036854775807": 1<<63 - 1, "1e3": 1000,
		"1795896000.0": 1795896000,
	} {
		var c struct {
			Expires jws.NumericDate `json:"exp"`
		}
		if err := strictjson.Unmarshal([]byte(`{"exp":`+text+`}`), &c); err != nil || int64(c.Expires) != want {
			t.Errorf("%s: got %d %v, want %d", text, c.Expires, err, want)
		}
	}
	for _, text := range []string{`"1795896000"`, `1e400`, `-1e400`, `1e17`, `9223372036854775808`, `true`, `{}`,
		`[1]`, `""`} {
		var d jws.NumericDate
		if err := strictjson.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s: got %d, want it refused", text, d)
		}
	}
}
