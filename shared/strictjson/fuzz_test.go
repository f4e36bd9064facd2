package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	lenient "github.com/segmentio/encoding/json"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// seeds are texts good and bad, and what the attacks on readers look like (MC-08, MC-09, DS-02,
// CVE-2026-27896, GHSA-q382-vc8q-7jhj).
var seeds = []string{
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{"a":[1,2.5e-3,null]},` +
		`"cursor":"x"}}`,
	`{"iss":"https://a.example","sub":"ann","aud":["b"],"exp":1795896000.5,"email_verified":true}`,
	`{"redirect_uris":["https://a.example/cb"],"Redirect_URIs":["https://evil.example/"]}`,
	"{\"redirect_uris\":[\"a\"],\"redirect_uri\u017f\":[\"b\"]}", `{"keys":[{"kty":"EC"}],"\u212aeys":[]}`,
	`{"sub":"ann","sub":"mallory"}`, `{"sub":"ann","s\u0075b":"mallory"}`, `{"sub":"ann","sub\u0000":"mallory"}`,
	`{"sub\u0000":"mallory","sub":"ann"}`, "{\"sub\":\"ann\",\"sub\x7f\":1}", `{"sub":"ann","SUB":"x","exp":1,"EXP":2}`,
	`[]`, `[{}]`, `[1,[2],{"a":"b"}]`, `{}`, `{"a":"\ud800"}`, `{"a":"\ud83d\ude00"}`, `{"a":"\udc00\ud800"}`,
	`{"":{"":{}}}`, "{\"a\":\"\x7f\"}", "{\"a\":\"\xff\"}", `{"a":01}`, `{"a":-}`, `{"a":1e+}`, "\ufeff{}", "{}\x00",
	` { "a" : [ ] } `,
	`{"a":-0,"b":1E400,"c":9007199254740993}`, `{"exp":null,"keys":null,"sub":null}`, `"a"`, `1`, `null`, `tru`,
	`{"sub":"\u0000\u001f"}`, `{"method":"a","methods":"b","metho":"c"}`,
	strings.Repeat(`{"a":`, 70) + `1` + strings.Repeat(`}`, 70), strings.Repeat(`[`, 64) + strings.Repeat(`]`, 64),
	strings.Repeat(`[`, 65) + strings.Repeat(`]`, 65),
}

// known are names that something is decided by, of the lengths that readers treat in their own
// ways.
type known struct {
	Subject  string          `json:"sub"`
	Method   string          `json:"method"`
	Name     string          `json:"name"`
	Expires  json.RawMessage `json:"exp"`
	Keys     json.RawMessage `json:"keys"`
	URIs     json.RawMessage `json:"redirect_uris"`
	Verified json.RawMessage `json:"email_verified"`
	Params   json.RawMessage `json:"params"`
}

// FuzzStrict holds the reader against three others. What it takes, encoding/json and
// segmentio/encoding, which are lenient, read as the same members with the same values, by exact
// names; and what it refuses as no JSON, jsontext refuses too. Meant differences are the rules of
// the package, each an error of its own; there is no other.
func FuzzStrict(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := strictjson.Members(data)
		sameVerdict(t, data, err)
		if err == nil {
			sameMembers(t, data, members)
			sameStruct(t, data, members)
		}
		elements, err := strictjson.Elements(data)
		if err != nil {
			return
		}
		var theirs, others []json.RawMessage
		if err := errors.Join(json.Unmarshal(data, &theirs), lenient.Unmarshal(data, &others)); err != nil ||
			len(theirs) != len(elements) || len(others) != len(elements) {
			t.Fatalf("%d elements to us, %d and %d to others: %v", len(elements), len(theirs), len(others), err)
		}
		for i, e := range elements {
			if string(e) != string(theirs[i]) || string(e) != string(others[i]) {
				t.Errorf("element %d is %s to us, %s and %s to others", i, e, theirs[i], others[i])
			}
		}
	})
}

// sameVerdict: each refusal is for what it says, and what is taken is an object to jsontext.
func sameVerdict(t *testing.T, data []byte, err error) {
	t.Helper()
	value, theirs := jsontext.NewDecoder(bytes.NewReader(data)).ReadValue()
	object := theirs == nil && len(value) > 0 && value[0] == '{' && len(bytes.Trim(data, " \t\r\n")) == len(value)
	switch {
	case err == nil && !object:
		t.Errorf("taken, and jsontext says %v", theirs)
	case errors.Is(err, strictjson.ErrTwice) && theirs == nil:
		t.Error("refused as twice, and jsontext finds each once")
	case errors.Is(err, strictjson.ErrSyntax) && object:
		t.Error("refused as syntax, and jsontext takes it")
	case err != nil && !errors.Is(err, strictjson.ErrTwice) && !errors.Is(err, strictjson.ErrSyntax) &&
		!errors.Is(err, strictjson.ErrDepth) && !errors.Is(err, strictjson.ErrControl):
		t.Errorf("an error without a kind: %v", err)
	}
}

// sameMembers: by exact names, others read the same values.
func sameMembers(t *testing.T, data []byte, members []strictjson.Member) {
	t.Helper()
	for name, read := range map[string]func([]byte, any) error{"encoding/json": json.Unmarshal,
		"segmentio/encoding": lenient.Unmarshal} {
		var o map[string]json.RawMessage
		if err := read(data, &o); err != nil || len(o) != len(members) {
			t.Fatalf("%s: %d members to us and %d to it: %v", name, len(members), len(o), err)
		}
		for _, m := range members {
			if value, there := o[string(m.Name)]; !there || string(value) != string(m.Value) {
				t.Errorf("%s: %q is %s to us and %s to it", name, m.Name, m.Value, value)
			}
		}
	}
}

// sameStruct: a struct has what its exact names have, to us and to a lenient reader that does not
// fold case.
func sameStruct(t *testing.T, data []byte, members []strictjson.Member) {
	t.Helper()
	var ours, theirs known
	if err := strictjson.Unmarshal(data, &ours); err != nil {
		if !errors.Is(err, strictjson.ErrType) {
			t.Errorf("Members takes it, and Unmarshal says %v", err)
		}
		return
	}
	want := known{
		Expires: strictjson.Find(members, "exp"), Keys: strictjson.Find(members, "keys"),
		URIs:     strictjson.Find(members, "redirect_uris"),
		Verified: strictjson.Find(members, "email_verified"), Params: strictjson.Find(members, "params"),
	}
	want.Subject, _ = strictjson.Text(strictjson.Find(members, "sub"))
	want.Method, _ = strictjson.Text(strictjson.Find(members, "method"))
	want.Name, _ = strictjson.Text(strictjson.Find(members, "name"))
	if !reflect.DeepEqual(ours, want) {
		t.Errorf("a struct is %s to us, want %s", show(ours), show(want))
	}
	d := lenient.NewDecoder(bytes.NewReader(data))
	d.DontMatchCaseInsensitiveStructFields()
	if err := d.Decode(&theirs); err != nil && err != io.EOF || !reflect.DeepEqual(theirs, want) {
		t.Errorf("a struct is %s to segmentio/encoding (%v), want %s", show(theirs), err, show(want))
	}
	if !utf8.Valid(data) {
		t.Error("taken, and no UTF-8")
	}
}

func show(k known) string {
	return fmt.Sprintf("%q %q %q %s %s %s %s %s", k.Subject, k.Method, k.Name, k.Expires, k.Keys, k.URIs, k.Verified,
		k.Params)
}
