package message_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// A call failed when its answer says so, wherever in it, and not because of a text or a deeper
// member that looks like it.
func TestFailure(t *testing.T) {
	long := strings.Repeat(`x\"isError\":true,`, 50)
	for text, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`:                                             "",
		`{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":false}}`:                             "",
		`{"jsonrpc":"2.0","id":1,"error":null,"result":{"isError":false}}`:                             "",
		`{"result":{"content":[{"type":"text","text":"` + long + `","isError":true}]},"id":1}`:         "",
		`{"result":{"structuredContent":{"isError":true,"error":{"code":1}},"a":{"isError":true}}}`:    "",
		`{"result":[true,{"isError":true}],"isError":true,"method":"error"}`:                           "",
		`{"params":{"isError":true,"error":1},"method":"notifications/message"}`:                       "",
		`{"result":{"isError":"true"}}`:                                                                "",
		``:                                                                                             "",
		`{"result":{"isError":true,"content":[]},"id":1}`:                                              "isError",
		`{"result":{"content":[{"text":"` + long + `"}],"a":[1,{"b":[]}], "isError" : true }, "id":1}`: "isError",
		`{"result":{"is\u0045rror":true}}`:                                                             "isError",
		"{\n \"id\": 1,\n \"error\": {\n  \"code\": -32602,\n  \"message\": \"" + long + "\"\n }\n}":   "error -32602",
		`{"error":{"message":"x","data":{"code":1},"code":-32000},"result":null}`:                      "error -32000",
		`{"error":"no"}`: "error",
		`{"error":{"code":"x","data":{"code":7}},"id":1}`: "error",
		`{"error":{"code":123456789012}}`:                 "error",
	} {
		for size := 1; size <= len(text)+1; size += 1 + len(text)/7 {
			var f message.Failure
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				_, _ = f.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if f.Why() != want {
				t.Errorf("%.80s by %d: got %q, want %q", text, size, f.Why(), want)
			}
		}
	}
}

func BenchmarkFailure(b *testing.B) {
	text := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("all work ",
		100) + `"}],"structuredContent":{"a":` + strings.Repeat(`{"b":[1,2,{"c":"d"}],"e":`, 10) + `1` +
		strings.Repeat("}", 10) + `},"isError":false}}`)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var f message.Failure
		_, _ = f.Write(text)
	}
}
