package message_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// twins are names that some reader takes for name: with a control character (GHSA-q382-vc8q-7jhj),
// or folded by case, also by that of Unicode (CVE-2026-27896).
func twins(name string) []string {
	found := []string{strings.ToUpper(name[:1]) + name[1:], strings.ToUpper(name)}
	for c := range 0x20 {
		found = append(found, fmt.Sprintf(`%s\u%04x`, name, c))
	}
	found = append(found, name+"\x7f", name+`\u007f`, `\u0000`+name, name[:1]+`\u0000`+name[1:], name+`\u0000\u0000`)
	for plain, folded := range map[string]string{"s": "\u017f", "k": "\u212a"} {
		if strings.Contains(name, plain) {
			found = append(found, strings.ReplaceAll(name, plain, folded))
		}
	}
	return found
}

// A message with a name that another reader could take for one that is decided on is refused whole.
func TestANameThatAnotherReaderTakesForAKnownOneIsRefused(t *testing.T) {
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{},"_meta":{}}}`
	if _, f := message.Parse([]byte(call)); f != nil {
		t.Fatalf("the plain message: %v", f)
	}
	try := func(body, what string) {
		t.Helper()
		if _, f := message.Parse([]byte(body)); f == nil {
			t.Errorf("%s was taken: %s", what, body)
		}
	}
	for _, known := range []string{"jsonrpc", "id", "method", "params", "result", "error"} {
		for _, twin := range twins(known) {
			for _, value := range []string{`"x"`, `{"name":"b"}`} {
				try(strings.Replace(call, `{"jsonrpc"`, `{"`+twin+`":`+value+`,"jsonrpc"`, 1), "in the envelope")
				try(strings.TrimSuffix(call, "}")+`,"`+twin+`":`+value+`}`, "at the envelope's end")
			}
		}
	}
	for _, known := range []string{"name", "uri", "arguments", "_meta", "cursor", "protocolVersion", "ref"} {
		for _, twin := range twins(known) {
			try(strings.Replace(call, `{"name"`, `{"`+twin+`":"b","name"`, 1), "in params")
		}
	}
	for _, known := range []string{message.MetaVersion, message.MetaCapabilities} {
		for _, twin := range twins(known) {
			try(strings.Replace(call, `"_meta":{`, `"_meta":{"`+twin+`":"2026-07-28"`, 1), "in _meta")
		}
	}
	for c := range 0x20 {
		try(strings.Replace(call, `"arguments":{`, fmt.Sprintf(`"arguments":{"x\u%04x":1`, c), 1), "in arguments")
		try(strings.Replace(call, `"_meta":{`, fmt.Sprintf(`"_meta":{"x\u%04x":1`, c), 1), "in _meta")
		try(strings.Replace(call, `"_meta":{`, fmt.Sprintf(`"ref":{"uri\u%04x":1},"_meta":{`, c), 1), "in ref")
	}
	// Data below the arguments' names are the tool's: nothing is decided by what is in them.
	if _, f := message.Parse([]byte(strings.Replace(call, `"arguments":{`, `"arguments":{"table":{"a\tb":1}`,
		1))); f != nil {
		t.Errorf("a name with a tab in the tool's data: %v", f)
	}
}
