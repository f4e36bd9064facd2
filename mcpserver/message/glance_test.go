package message_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// The id of an answer is found wherever it stands, in pieces of any size, and nowhere else.
func TestGlance(t *testing.T) {
	for text, want := range map[string]string{
		`{"jsonrpc":"2.0","id":7,"result":{"id":8}}`:                          "7",
		`{"result":{"a":[{"id":8}],"b":"\"id\":9"},"jsonrpc":"2.0","id":"7"}`: `"7"`,
		` { "id" : 7 , "result" : {"a":1,"a":2} } `:                           "7",
		"{\"id\":7,\"error\":{\"message\":\"\xff\"}}":                         "7",
		`{"id":7,"result":{"a":}}`:                                            "7",
		`{"id":-3,"error":null}`:                                              "-3",
		`{"id":7}`:                                                            "",
		`{"id":7,"method":"a","result":{}}`:                                   "",
		`{"id":7,"id":8,"result":{}}`:                                         "",
		`{"id":7,"id":7,"result":{}}`:                                         "",
		`{"id":7.5,"result":{}}`:                                              "",
		`{"id":null,"result":{}}`:                                             "",
		`{"id":{"a":7},"result":{}}`:                                          "",
		`{"id":[7],"result":{}}`:                                              "",
		`{"id":,"result":{}}`:                                                 "",
		`{"id":07,"result":{}}`:                                               "",
		`INFO {"id":7,"result":{}}`:                                           "",
		`[{"id":7,"result":{}}]`:                                              "",
		`{"result":{},"params":"id":7}`:                                       "",
		`{"id":"` + strings.Repeat("7", 2000) + `","result":{}}`:              "",
		``: "", `{`: "", `}}}`: "", `{{{"id":7}`: "", `":":"`: "",
	} {
		for size := range len(text) + 1 {
			var g message.Glance
			rest := []byte(text)
			for len(rest) > 0 {
				n := min(max(size, 1), len(rest))
				_, err := g.Write(rest[:n])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if got := string(g.ID()); got != want {
				t.Errorf("%.80s in pieces of %d: got %q, want %q", text, size, got, want)
				break
			}
		}
	}
}

func TestSameID(t *testing.T) {
	for _, row := range []struct {
		a, b string
		same bool
	}{{`1`, `"1"`, true}, {`1`, `1`, true}, {`"a"`, `"\u0061"`, true}, {`1`, `2`, false}, {`"1"`, `"2"`, false},
		{`1`, `"01"`, false}} {
		if got := message.SameID([]byte(row.a), []byte(row.b)); got != row.same {
			t.Errorf("%s and %s: %v", row.a, row.b, got)
		}
	}
}
