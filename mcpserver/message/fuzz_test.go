package message_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// seeds are messages good and bad, and what the attacks on readers look like (MC-08, MC-09, DS-02).
var seeds = []string{
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{"a":[1,2.5e-3,null]},` +
		`"cursor":"x","uri":"file:///a"}}`,
	`{"jsonrpc":"2.0","id":"a\u0041","method":"tools\/list","params":{"_meta":{"io.` +
		`modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
	`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}`,
	`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
	`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"ping","Method":"x"}`,
	`{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"x"}`,
	`{"jsonrpc":"2.0","id":1,"method":"ping","method\u0000":1}`,
	`[]`, `[{}]`, `[1,[2],{"a":"b"}]`, `{}`, `{"a":"\ud800"}`, `{"":{"":{}}}`, "{\"a\":\"\x7f\"}", "{\"a\":\"\xff\"}",
	`{"a":01}`, `{"a":-}`, `{"a":1e+}`, "\ufeff{}", "{}\x00", ` { "a" : [ ] } `,
	strings.Repeat(`{"a":`, 70) + `1` + strings.Repeat(`}`, 70), strings.Repeat(`[`, 70) + strings.Repeat(`]`, 70),
}

// FuzzParse: a message that is taken says to encoding/json, by exact names, what it says to us; and
// nothing brings the reader down.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, fault := message.Parse(body)
		if fault != nil {
			if fault.Message == "" || fault.Code == 0 {
				t.Errorf("refused without a word: %+v", fault)
			}
			return
		}
		envelope := object(t, body)
		if len(m.ID) > 0 != (envelope["id"] != nil) || string(m.ID) != string(envelope["id"]) {
			t.Errorf("the id is %s to us and %s to others", m.ID, envelope["id"])
		}
		if _, asks := envelope["method"]; asks == m.Answer {
			t.Errorf("answer is %v, but there is a method: %v", m.Answer, asks)
		}
		same(t, "method", m.Method, envelope["method"])
		params := map[string]json.RawMessage{}
		if p := envelope["params"]; p != nil && p[0] == '{' {
			params = object(t, p)
		}
		same(t, "name", m.Name, params["name"])
		same(t, "uri", m.URI, params["uri"])
		if string(m.Arguments) != string(params["arguments"]) || string(m.Cursor) != string(params["cursor"]) {
			t.Errorf("arguments or cursor are %s, %s to us and %s, %s to others", m.Arguments, m.Cursor,
				params["arguments"], params["cursor"])
		}
		if meta := params["_meta"]; meta != nil {
			o := object(t, meta)
			if _, there := o[message.MetaVersion]; there != m.Meta {
				t.Errorf("a version is there: %v to us", m.Meta)
			}
			same(t, "version", m.MetaVersion, o[message.MetaVersion])
		}
	})
}

// object is what encoding/json makes of an object, by exact names.
func object(t *testing.T, data []byte) map[string]json.RawMessage {
	t.Helper()
	var o map[string]json.RawMessage
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatalf("taken, but encoding/json says %v: %q", err, data)
	}
	return o
}

// same checks that a string is the same to encoding/json; what is no string is none to us.
func same(t *testing.T, what, ours string, value json.RawMessage) {
	t.Helper()
	var theirs string
	if len(value) > 0 && value[0] == '"' {
		if err := json.Unmarshal(value, &theirs); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if ours != theirs {
		t.Errorf("%s is %q to us and %q to others", what, ours, theirs)
	}
}
