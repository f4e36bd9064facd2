package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// The dispatcher is ours for its speed; the official SDK's server is what it is measured by. Both
// get the same tools and the same messages, and must answer alike but for the differences that are
// listed here, each with its reason.

const (
	echoSchema = `{"type":"object","properties":{"text":{"type":"string"},"times":{"type":"integer"}},` +
		`"required":["text"],"additionalProperties":false}`
	openSchema = `{"type":"object"}`
)

// twins are the two servers, with the tools echo and count.
type twins struct{ ours, theirs http.Handler }

type echoInput struct {
	Text  string `json:"text"`
	Times int    `json:"times,omitempty"`
}

func echoed(in echoInput) string { return strings.Repeat(in.Text, min(max(in.Times, 1), 3)) }

func newTwins(t testing.TB) twins {
	t.Helper()
	catalog, err := mcp.NewCatalog(
		mcp.Tool{Name: "echo", Description: "says it", Scope: "s", InputSchema: json.RawMessage(echoSchema),
			Bind: func(mcp.Caller) mcp.Handler {
				return func(_ context.Context, arguments json.RawMessage) (mcp.Result, error) {
					var in echoInput
					if err := json.Unmarshal(arguments, &in); err != nil {
						return mcp.Result{}, mcp.InvalidArguments{Reason: "not as the schema has it"}
					}
					return mcp.Result{Text: echoed(in)}, nil
				}
			}},
		mcp.Tool{Name: "count", Description: "counts", Scope: "s", InputSchema: json.RawMessage(openSchema),
			Bind: func(mcp.Caller) mcp.Handler {
				return func(_ context.Context, arguments json.RawMessage) (mcp.Result, error) {
					var in map[string]any
					if err := json.Unmarshal(arguments, &in); err != nil {
						return mcp.Result{}, err
					}
					return mcp.Result{Text: fmt.Sprint(len(in))}, nil
				}
			}},
	)
	must(t, err)
	endpoint := &mcp.Endpoint{Catalog: catalog, Info: mcp.Info{Name: "twin", Version: "1"},
		Deny: func(w http.ResponseWriter, _ *http.Request, _ []string) { w.WriteHeader(403) }}
	server := sdk.NewServer(&sdk.Implementation{Name: "twin", Version: "1"}, &sdk.ServerOptions{
		Capabilities:              &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{}},
		SupportedProtocolVersions: mcp.Versions(),
	})
	sdk.AddTool(server, &sdk.Tool{Name: "echo", Description: "says it", InputSchema: json.RawMessage(echoSchema)},
		func(_ context.Context, _ *sdk.CallToolRequest, in echoInput) (*sdk.CallToolResult, any, error) {
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: echoed(in)}}}, nil, nil
		})
	server.AddTool(&sdk.Tool{Name: "count", Description: "counts", InputSchema: json.RawMessage(openSchema)},
		func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			var in map[string]any
			if len(r.Params.Arguments) > 0 {
				if err := json.Unmarshal(r.Params.Arguments, &in); err != nil {
					return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "not an object"}
				}
			}
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprint(len(in))}}}, nil
		})
	return twins{
		ours: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			endpoint.Serve(w, r, mcp.Caller{TenantID: "acme", Scopes: []string{"s"}})
		}),
		theirs: sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server },
			&sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true, DisableLocalhostProtection: true}),
	}
}

// posted is a message with its headers.
type posted struct {
	body    string
	headers map[string]string
}

func (p posted) String() string { return fmt.Sprintf("%s with %v", p.body, p.headers) }

// said is what of an answer is compared.
type verdict struct {
	status int
	code   int    // of a JSON-RPC error; 0: none
	result string // what matters of a result, in one order
	text   string // the whole, for people
}

func (v verdict) ok() bool { return v.code == 0 && v.status < 300 }

func (v verdict) String() string { return fmt.Sprintf("%d %d %s", v.status, v.code, v.result) }

func ask2(h http.Handler, p posted) verdict {
	r := httptest.NewRequest("POST", "http://localhost/mcp", strings.NewReader(p.body))
	for name, value := range p.headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	v := verdict{status: w.Code, text: w.Body.String()}
	var a struct {
		ID     json.RawMessage
		Result map[string]any
		Error  *struct{ Code int }
	}
	if json.Unmarshal(w.Body.Bytes(), &a) != nil {
		return v
	}
	if a.Error != nil {
		v.code = a.Error.Code
		return v
	}
	if a.Result != nil {
		v.result = string(a.ID) + " " + matters(a.Result)
	}
	return v
}

// matters leaves of a result what both must say. What is left out is allowed to differ: how long
// lists may be kept and by whom (ours are for the caller alone, S6), annotations that the SDK
// leaves away when they are false, who the server is in _meta, and the words of errors.
func matters(result map[string]any) string {
	kept := maps.Clone(result)
	for _, name := range []string{"ttlMs", "cacheScope", "_meta"} {
		delete(kept, name)
	}
	if failed, there := kept["isError"]; there && failed == false {
		delete(kept, "isError")
	} else if failed == true {
		delete(kept, "content")
	}
	if tools, ok := kept["tools"].([]any); ok {
		slices.SortFunc(tools, func(a, b any) int { // the SDK lists by name, we by the catalog
			return strings.Compare(fmt.Sprint(a.(map[string]any)["name"]), fmt.Sprint(b.(map[string]any)["name"]))
		})
		for _, tool := range tools {
			delete(tool.(map[string]any), "annotations")
		}
	}
	if c, ok := kept["capabilities"].(map[string]any); ok {
		// both have tools; listChanged false is the same as none
		kept["capabilities"] = len(c["tools"].(map[string]any))
		if t := c["tools"].(map[string]any); t["listChanged"] == false {
			kept["capabilities"] = 0
		}
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// difference is one that is meant.
type difference struct {
	why     string
	applies func(p posted, ours, theirs verdict) bool
}

// oursSays is a difference of what we refuse, by our words for it.
func oursSays(words string) func(posted, verdict, verdict) bool {
	return func(_ posted, ours, _ verdict) bool { return !ours.ok() && strings.Contains(ours.text, words) }
}

// differences are in three groups. The last is the short one to look at: what we take and the SDK
// does not.
var differences = []difference{
	// Stricter here: what two readers could read in two ways passes to nobody (MC-08).
	{"a member in another case is refused; the SDK ignores it", oursSays("wrong case")},
	{"a member twice is refused; the SDK takes the last", oursSays("a member twice")},
	{"a name with a control character is refused where a decision could hang from it; the SDK ignores it",
		oursSays("holds a control character")},
	{"what is not one JSON value in UTF-8 is -32700; the SDK says so in plain words, or replaces the bytes, or half " +
		"a surrogate pair", oursSays("not one JSON value in UTF-8")},
	{"an id is a string or an integer and never null (MCP basic); the SDK takes null for a notification and cuts " +
		"fractions off", oursSays("id must be a string or an integer")},
	{"what neither asks nor answers is refused, and so is an answer: nothing was asked (MC-20); the SDK accepts both " +
		"and forgets them", func(_ posted, ours, _ verdict) bool {
		return strings.Contains(ours.text, "a message asks with a method") ||
			strings.Contains(ours.text, "only requests and notifications") ||
			strings.Contains(ours.text, `jsonrpc must be`)
	}},
	{"a method that is no string, or empty, is refused as no message; the SDK knows no such method",
		oursSays("method is not a string")},
	{"params, arguments and _meta that are no objects are -32602 for every method, also those that do not read them",
		func(_ posted, ours, _ verdict) bool {
			return ours.code == -32602 && strings.Contains(ours.text, "must be an object")
		}},
	{"initialize must name its version (MCP lifecycle); the SDK takes the newest legacy one",
		oursSays("protocolVersion is missing")},
	{"a modern request is held against its headers and its _meta first (RS-29, RS-31, RS-33); the SDK looks for the " +
		"method first, or does not look for the header of a method that it does not know",
		func(_ posted, ours, theirs verdict) bool {
			return (ours.code == -32020 || ours.code == -32602 || ours.code == -32022) && ours.status == 400 &&
				!theirs.ok()
		}},
	{"a version that we do not speak is -32022 in the modern era whatever else is wrong; both refuse",
		func(_ posted, ours, theirs verdict) bool {
			return ours.status == 400 && theirs.status == 400 && ours.code != 0
		}},
	// Other words for the same refusal.
	{"an Accept that does not do is 406 (MC-19); the SDK's answer is 400",
		func(_ posted, ours, theirs verdict) bool { return ours.status == 406 && theirs.status == 400 }},
	{"a Content-Type that does not do is 415 from both; ours has a body of JSON-RPC",
		func(_ posted, ours, theirs verdict) bool { return ours.status == 415 && theirs.status == 415 }},
	{"an older client's unknown method is -32601 in a 200, as JSON-RPC has it; the SDK's answer is a 400 in " +
		"plain words", func(_ posted, ours, theirs verdict) bool {
		return ours.code == -32601 && theirs.status == 400 && strings.Contains(theirs.text, "not handled")
	}},
	{"a call without params lacks a name (-32602), and a notification's method with an id is no method (-32601); the " +
		"SDK calls both no request, in plain words or in JSON", func(_ posted, ours, theirs verdict) bool {
		return !ours.ok() && ours.code != 0 && !theirs.ok() && strings.Contains(theirs.text, "invalid request: ")
	}},
	{"resources, prompts, completion and logging are methods that this server has not (-32601); the SDK has " +
		"them, empty", func(p posted, ours, _ verdict) bool {
		return ours.code == -32601 && foreignMethod(p.body)
	}},
	{"a modern client's unknown method is 404 before its clientInfo or its Accept is looked at",
		func(_ posted, ours, theirs verdict) bool {
			return ours.status == 404 && ours.code == -32601 && theirs.status == 400
		}},
	{"the SDK answers initialize with malformed capabilities or clientInfo with an error of code 0, which is none; " +
		"they decide nothing here (MC-27)", func(_ posted, ours, theirs verdict) bool {
		return ours.ok() && theirs.status == 200 && theirs.result == "" && strings.Contains(theirs.text, `"code":0`)
	}},
	// Looser here.
	{"a clientInfo that is malformed decides nothing, as one that is well-formed (MC-27); the SDK's answer is -32602",
		func(_ posted, ours, theirs verdict) bool {
			return ours.ok() && theirs.code == -32602 && strings.Contains(theirs.text, "/clientInfo")
		}},
	{"no Accept header takes everything (RFC 9110 §12.5.1); the SDK's answer is 400",
		func(p posted, ours, theirs verdict) bool {
			return p.headers["Accept"] == "" && theirs.status == 400 && strings.Contains(theirs.text, "Accept must")
		}},
	{"initialize is an older client's whatever its header says, because there is no version yet to hold it against; " +
		"the SDK goes by the header", func(p posted, ours, theirs verdict) bool {
		return strings.Contains(p.body, `"initialize"`) && p.headers["Mcp-Protocol-Version"] != "2025-11-25" &&
			theirs.status == 400
	}},
	{"Mcp-Name may be in base64 (MCP 2026-07-28, Server Validation); the SDK does not decode it",
		func(p posted, ours, theirs verdict) bool {
			return strings.HasPrefix(p.headers["Mcp-Name"], "=?base64?") && theirs.code == -32020
		}},
	{"a notification that nobody knows is accepted and forgotten; the SDK's answer is 400",
		func(_ posted, ours, theirs verdict) bool {
			return ours.status == 202 && theirs.status == 400
		}},
}

// foreignMethod says whether a message asks for something that the SDK's server has and ours has
// not.
func foreignMethod(body string) bool {
	for _, name := range []string{"resources/", "prompts/", "completion/", "logging/"} {
		if strings.Contains(body, `"method":"`+name) {
			return true
		}
	}
	return false
}

// TestDifferential sends the table, and mutations of it, to both.
func TestDifferential(t *testing.T) {
	both := newTwins(t)
	seeds := differentialSeeds()
	used := map[string]int{}
	compare := func(p posted) {
		ours, theirs := ask2(both.ours, p), ask2(both.theirs, p)
		if ours.String() == theirs.String() {
			used["alike"]++
			return
		}
		for _, d := range differences {
			if d.applies(p, ours, theirs) {
				used[d.why]++
				return
			}
		}
		t.Errorf("%s\n\tours   %v %.200s\n\ttheirs %v %.200s", p, ours, ours.text, theirs, theirs.text)
	}
	for _, p := range seeds {
		compare(p)
	}
	r := rand.New(rand.NewPCG(2026, 7))
	for range 4000 {
		compare(mutated(r, seeds))
	}
	for _, d := range differences {
		if used[d.why] == 0 {
			t.Errorf("this difference was not seen; take it off the list: %s", d.why)
		}
	}
	if used["alike"] < 1000 {
		t.Errorf("only %d answers were alike: the mutations ask nothing any more", used["alike"])
	}
	for _, why := range slices.Sorted(maps.Keys(used)) {
		t.Logf("%5d %s", used[why], why)
	}
}

func legacyPost(body string) posted {
	return posted{body, map[string]string{"Content-Type": "application/json",
		"Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2025-11-25"}}
}

func modernPost(method, params string) posted {
	p := legacyPost(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` +
		strings.TrimPrefix(params+","+modernMeta, ",") + `}}`)
	p.headers["Mcp-Protocol-Version"], p.headers["Mcp-Method"] = "2026-07-28", method
	if method == "tools/call" {
		p.headers["Mcp-Name"] = "echo"
	}
	return p
}

func differentialSeeds() []posted {
	legacy := func(method, params string) posted {
		return legacyPost(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `}}`)
	}
	seeds := []posted{
		legacy("initialize",
			`"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}`),
		legacy("initialize",
			`"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"x","version":"1"}`),
		legacy("ping", ``), legacy("tools/list", ``), legacyPost(`{"jsonrpc":"2.0","id":"a","method":"tools/list"}`),
		legacyPost(`{"jsonrpc":"2.0","method":"notifications/initialized"}`),
		legacyPost(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`),
		legacy("resources/list", ``), legacy("prompts/get", `"name":"x"`), legacy("nonsense", ``),
		legacy("completion/complete", ``),
		legacy("tools/call", `"name":"echo","arguments":{"text":"hi","times":2}`),
		legacy("tools/call", `"name":"echo","arguments":{"text":"\u00e9\\\"\n"}`),
		legacy("tools/call", `"name":"count","arguments":{"a":1,"b":[{}]}`),
		legacy("tools/call", `"name":"count"`), legacy("tools/call", `"name":"count","arguments":{}`),
		legacy("tools/call", `"name":"echo","arguments":{"text":7}`),
		legacy("tools/call", `"name":"echo","arguments":{}`),
		legacy("tools/call", `"name":"echo","arguments":{"text":"hi","tenant_id":"globex"}`),
		legacy("tools/call", `"name":"nope","arguments":{}`), legacy("tools/call", `"arguments":{}`),
		modernPost("server/discover", ""), modernPost("tools/list", ""), modernPost("ping", ""),
		modernPost("initialize", `"protocolVersion":"2026-07-28"`), modernPost("nonsense", ""),
		modernPost("tools/call", `"name":"echo","arguments":{"text":"hi","times":3}`),
		modernPost("tools/call", `"name":"echo","arguments":{"text":7}`),
		modernPost("tools/call", `"name":"nope","arguments":{}`),
		modernPost("tools/call", `"name":"echo"`), modernPost("tools/call", `"name":"count","arguments":{}`),
	}
	return append(seeds, legacyPost(``), legacyPost(`{}`), legacyPost(`null`), legacyPost(`[]`),
		legacyPost(`{"jsonrpc":"1.0","id":1,"method":"ping"}`),
		legacyPost(`{"jsonrpc":"2.0","id":null,"method":"ping"}`))
}

// mutated bends one of the seeds: as a text, as JSON, or in its headers.
func mutated(r *rand.Rand, seeds []posted) posted {
	p := seeds[r.IntN(len(seeds))]
	p.headers = maps.Clone(p.headers)
	for range 1 + r.IntN(2) {
		switch r.IntN(6) {
		case 0:
			p.body = bendText(r, p.body)
		case 1:
			bendHeaders(r, p.headers)
		default:
			p.body = bendJSON(r, p.body)
		}
	}
	return p
}

func bendText(r *rand.Rand, body string) string {
	if body == "" {
		return " "
	}
	at := r.IntN(len(body))
	switch r.IntN(4) {
	case 0:
		return body[:at] + body[at+1:]
	case 1:
		return body[:at] + string(body[r.IntN(len(body))]) + body[at:]
	case 2:
		return body[:at] + strings.ToUpper(body[at:at+1]) + body[at+1:]
	}
	return body[:at] + []string{" ", "\n", "\x00", "{", "}", `"`, ",", `\u0000`, "\xff", "é"}[r.IntN(10)] + body[at:]
}

func bendHeaders(r *rand.Rand, headers map[string]string) {
	names := slices.Sorted(maps.Keys(headers))
	if len(names) == 0 {
		return
	}
	name := names[r.IntN(len(names))]
	values := []string{"", "2025-06-18", "2025-03-26", "2026-07-28", "2099-01-01", "tools/list", "echo", "count",
		"application/json", "text/plain", "=?base64?ZWNobw==?=", "read_note", "secret", "=?base64?c2VjcmV0?="}
	if v := values[r.IntN(len(values))]; v != "" {
		headers[name] = v
		return
	}
	delete(headers, name)
}

// bendJSON changes, drops, renames or doubles one member, somewhere.
func bendJSON(r *rand.Rand, body string) string {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if d.Decode(&v) != nil || v == nil {
		return bendText(r, body)
	}
	at := v
	for {
		var inner []map[string]any
		for _, name := range slices.Sorted(maps.Keys(at)) {
			if o, ok := at[name].(map[string]any); ok {
				inner = append(inner, o)
			}
		}
		if len(inner) == 0 || r.IntN(3) == 0 {
			break
		}
		at = inner[r.IntN(len(inner))]
	}
	names := slices.Sorted(maps.Keys(at))
	values := []any{nil, true, 7, -1, 1.5, "", "echo", "count", "hi", []any{}, map[string]any{},
		map[string]any{"text": "hi"}, "tools/list", "tools/call", "2025-11-25", json.Number("1e2"),
		strings.Repeat("x", 300), "read_note", "write_note", "secret", "Secret", "secret\u0000"}
	value := values[r.IntN(len(values))]
	switch choice := r.IntN(4); {
	case choice == 0 || len(names) == 0:
		at[[]string{"name", "arguments", "cursor", "extra", "_meta", "text", "id", "Method"}[r.IntN(8)]] = value
	case choice == 1:
		delete(at, names[r.IntN(len(names))])
	case choice == 2:
		name := names[r.IntN(len(names))]
		moved := at[name]
		delete(at, name)
		at[strings.ToUpper(name[:min(1, len(name))])+name[min(1, len(name)):]] = moved
	default:
		at[names[r.IntN(len(names))]] = value
	}
	b, err := json.Marshal(v)
	if err != nil {
		return body
	}
	switch r.IntN(24) { // one member twice, first or last, plain or escaped
	case 0:
		b = bytes.Replace(b, []byte(`{`), []byte(`{"method":"ping",`), 1)
	case 1:
		b = bytes.Replace(b, []byte(`"params":{`), []byte(`"params":{"n\u0061me":"secret",`), 1)
	case 2:
		b = append(bytes.TrimSuffix(b, []byte(`}`)), `,"method":"tools/call","params":{"name":"secret"}}`...)
	}
	return string(b)
}
