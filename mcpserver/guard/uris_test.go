package guard_test

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	whatwg "github.com/nlnwa/whatwg-url/url"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// A file and a host that are secret, in front of a star that is not.
var secrets = guard.Rules{Resources: []guard.Rule{
	{Name: "file:///private/*", Scopes: []string{"secret"}},
	{Name: "https://internal.example/*", Scopes: []string{"secret"}},
	{Name: "note://private/*", Scopes: []string{"secret"}}, {Name: "file:///one", Scopes: []string{"secret"}},
	{Name: "https://public.example/admin", Scopes: []string{"secret"}},
	{Name: "https://xn--bcher-kva.example/*"}, {Name: "note://a//b"}, {Name: "postgres://user@db.example/table"},
	{Name: "*"},
}}

func isOpen(t testing.TB, rules guard.Rules, uri string) bool {
	t.Helper()
	table, err := rules.Compile()
	must(t, err)
	return table.Decide(mcp.Caller{}, guard.KindResource, uri).Allowed
}

// A URI that a server would resolve to one of another rule fits no rule with a star; an exact rule
// fits what is written like it.
func TestURIsAreComparedAsTheyAreResolved(t *testing.T) {
	for _, uri := range []string{
		"file:///public/key.txt", "file:///public/", "file:///", "file:///C:/public/key.txt", "file:///public/a%20b",
		"file:///privat/e", "file:///private.d/x",
		"https://public.example/", "https://public.example/a?b=c..//d", "https://public.example:8443/a",
		"https://public.example/a;b=c,d", "http://127.0.0.1:8080/x", "http://[::1]/x",
		"note://public/caf\u00e9", "note://public/a b", "note://Public/A", "memo://insights", "ui://widget/app.html",
		"urn:isbn:0451450523", "demo://resource/dynamic/text/1", "data://config?x=a//b",
		"https://xn--bcher-kva.example/x", "note://a//b", "postgres://user@db.example/table", "test:///x",
	} {
		if !isOpen(t, secrets, uri) {
			t.Errorf("%q is closed", uri)
		}
	}
	for _, uri := range []string{
		"file:/private/key.txt", "file://localhost/private/key.txt", "file:private/key.txt", "file:////private/key.txt",
		"file:///private//key.txt", "file:///x//private/key.txt", "file://LOCALHOST/private/key.txt",
		"file://127.0.0.1/private/key.txt", "file://any/private/key.txt", "file:///%2Fprivate/key.txt",
		"file:///Private/key.txt", "file:///PRIVATE/key.txt", "file:///%50rivate/key.txt",
		" file:///private/key.txt", "file:///private/key.txt ", "\tfile:///private/key.txt",
		"\u00a0file:///private/key.txt", "\ufefffile:///private/key.txt", "\u2003file:///private/key.txt",
		"fi\tle:///private/key.txt",
		"FILE:///private/key.txt", "file:\\\\\\private\\key.txt", "file:///x/../private/key.txt",
		"file:///x/%2e%2e/private/key.txt", "file:///x/.%2E/private/key.txt", "file:///./private/key.txt",
		"file:///%c0%ae%c0%ae/private/key.txt", "file:///private%20/key.txt", "file:///private./key.txt",
		"file:///c|/private/key.txt", "file:///private\u00ad/key.txt",
		"file:///one/", "file:///one#x", "file:///one?x", "file:///one?", "file:///ONE", "file:///one%23x",
		"file:///one%3Fx", "file:///%6Fne", "file:///one%2F", "https://public.example/admin#x",
		"https://public.example/admin?", "https://public.example/admin/",
		"https://internal.example:443/x", "https:internal.example/x", "https:/internal.example/x",
		"https:///internal.example/x", "https:\\\\internal.example\\x", "https://internal.example./x",
		"https://INTERNAL.example/x",
		"https://user@internal.example/x", "https://user:pw@internal.example/x", "https://@internal.example/x",
		"https://internal.example:/x", "https://internal.example:0443/x", "https://internal%2Eexample/x",
		"https://%69nternal.example/x",
		"https://\uff49nternal.example/x", "https://internal\u3002example/x", "https://inter\u00adnal.example/x",
		"https://xn--internal-.example/x", "https://internal.example", "https://internal.example?x",
		"https://internal.example#x",
		"https://public.example\\@internal.example/x", "https://public.example#@internal.example/x",
		"http://2130706433/x", "http://0x7f.1/x", "http://127.1/x", "http://0177.0.0.1/x",
		"http://[::ffff:127.0.0.1]/x", "http://[0:0:0:0:0:0:0:1]/x",
		"view-source:file:///private/key.txt", "url:file:///private/key.txt", "jar:file:///private/key.txt",
		"<file:///private/key.txt>", "/private/key.txt", "private/key.txt", "c:/private/key.txt",
		"//internal.example/x", "",
		"note://private:/x", "note://Private/x", "note://pr%69vate/x", "note://x//private/y", "note:////private/x",
		"note://user@private/x", "note:// private/x", "note://private/x ", "note://pr\u0131vate/x",
		"wss://internal.example:443/x", "ftp://internal.example:21/x", "http://internal.example:80/x",
		"http://internal.example:65536/x", "note://A//b", "postgres://user@db.example/other",
	} {
		if isOpen(t, secrets, uri) {
			t.Errorf("%q is open", uri)
		}
	}
}

// What names the same thing to a lenient server as a stricter rule does fits no rule with a star,
// whichever of the two is written in the usual way. Without such a rule it is what it says.
func TestAStarOpensNoOtherNameOfAStricterRule(t *testing.T) {
	const nfc, nfd = "caf%C3%A9", "cafe%CC%81"
	for _, row := range []struct {
		strict, wide string
		closed, open []string
	}{
		{"repo://owner/*", "repo://*",
			[]string{"repo:///owner/x", "repo:////owner/x", "repo://owner./x", "repo://owner.:1/x", "repo://owner:80/x",
				"repo://OWNER/x", "repo://owner%2E/x", "repo://owner;a/x", "repo://owner/;a", "repo://owner/?a",
				"repo:///owner%2Fx", "repo:///%6Fwner/x", "repo:///owner;a=b/x", "repo://owner%3Aa/../x"},
			[]string{"repo://other/x", "repo:///other/x", "repo://other:80/x", "repo://other/owner/x",
				"repo://other;owner/x", "repo://own/er/x"}},
		{"repo:///owner/*", "*", []string{"repo://owner/x", "repo:owner/x", "repo:/owner/x"},
			[]string{"repo://other/x", "repo:other"}},
		{"https://h.example/admin", "*",
			[]string{"https://h.example/admin;x", "https://h.example/admin;a=b;c", "https://h.example/admin%3Bx",
				"https://h.example/admin;x?y", "https://h.example/admin?y", "https://h.example/admin.",
				"https://h.example/admin%20", "http://h.example/admin", "https://h.example/%EF%BD%81dmin",
				"https://h.example/admin/;x"},
			[]string{"https://h.example/adminx;x", "https://h.example/a?b=admin", "https://h.example/x;admin",
				"http://h.example/"}},
		{"https://h.example/my%20private/*", "https://h.example/*",
			[]string{"https://h.example/my+private/x", "https://h.example/my%2Bprivate/x"},
			[]string{"https://h.example/my+public/x"}},
		{"file:///C:/private/*", "file:///*",
			[]string{"file:///C:private/x", "file:///C:private", "file:///C:/PRIVAT~1/x", "file:///C:/privat%7E1/x",
				"file:///C:/PR1A2B~1/x", "file:///C:/private:x/y", "file:///C:/private::$INDEX_ALLOCATION/x",
				"file:///C:/private:$I30:$INDEX_ALLOCATION/x", "file:///C:/private%3A%3A$INDEX_ALLOCATION/x",
				"file:///c:/Private/x", "file:///private/x", "file:///c%3A/private/x", "file:///C%7C/private/x",
				"file:///c%3Aprivate/x"},
			[]string{"file:///C:/public/x", "file:///C:/public/a:b", "file:///D:/private/x", "file:///C:/",
				"file:///C:/a~b/c~.txt", "file:///C:/averylongname~1.txt"}},
		{"file:///C:/key.txt", "file:///*", []string{"file:///C:/key.txt::$DATA", "file:///C:/key.txt:x",
			"file:///C:/KEY~1.TXT", "file:///C:/key.txt%3A%3A$DATA", "file:///C:/key.txt::$DATA?x#y"},
			[]string{"file:///C:/keys.txt"}},
		{"file:///private/*", "file:///*", []string{"file:///C:/private/x", "file:///~/private/x", "file:///~root/x",
			"file:///%u0070rivate/x", "file:///%25u0070rivate/x", "file:///private%2B/../x",
			"file:///x/%EF%BC%8E%EF%BC%8E/private/x", "file:///x/%E2%80%A5/private/x", "file:///%EF%BD%90rivate/x"},
			[]string{"file:///C:/public/x", "file:///x/~y"}},
		{"file:///" + nfc + "/*", "file:///*", []string{"file:///" + nfd + "/x", "file:///CAF%C3%89/x",
			"file:///CAFE%CC%81/x"}, []string{"file:///cafe/x", "file:///na%C3%AFve/x", "file:///nai%CC%88ve/x"}},
		{"file:///" + nfd + "/*", "file:///*", []string{"file:///" + nfc + "/x"}, nil},
		{"note://" + nfc + "/*", "*", []string{"note://" + nfd + "/x"}, nil},
	} {
		rules := guard.Rules{Resources: []guard.Rule{{Name: row.strict, Scopes: []string{"secret"}}, {Name: row.wide}}}
		for _, uri := range row.closed {
			if isOpen(t, rules, uri) {
				t.Errorf("before %s, %q is open", row.strict, uri)
			}
		}
		for _, uri := range append(row.open, "other://x/y") {
			if strings.HasPrefix(uri, strings.TrimSuffix(row.wide, "*")) && !isOpen(t, rules, uri) {
				t.Errorf("before %s, %q is closed", row.strict, uri)
			}
		}
		for _, uri := range append(row.closed, row.open...) { // and by itself
			exact := guard.Rules{Resources: []guard.Rule{{Name: row.wide, Scopes: []string{"secret"}}, {Name: uri}}}
			if fits := strings.HasPrefix(uri, strings.TrimSuffix(row.wide, "*")); isOpen(t, exact, uri) == fits {
				t.Errorf("%q after %s", uri, row.wide)
			}
			if !isOpen(t, guard.Rules{Resources: []guard.Rule{{Name: uri}}}, uri) {
				t.Errorf("%q is closed, and a rule names it", uri)
			}
		}
	}
}

// What servers that nobody here wrote call their resources is open by the rule that a proposal has
// for them, and a rule that speaks of queries, parameters, ports or plain http tells them apart.
func TestUsualURIsFitAStar(t *testing.T) {
	for _, uri := range []string{
		"demo://resource/static/document/architecture.md", "demo://resource/dynamic/text/1",
		"demo://resource/dynamic/blob/7", "memo://insights", "context7://libraries", "test://static/resource/1",
		"test:///x",
		"file:///home/ann/a%20file%20with%20spaces.txt", "file:///home/ann/caf%C3%A9/%E6%97%A5%E6%9C%AC.md",
		"file:///home/ann/cafe%CC%81", "file:///home/ann/log-10:00.txt", "file:///C:/Users/ann/a%20b.txt",
		"file:///home/ann/a+b;c~.txt", "file:///tmp/x~1",
		"postgres://db.example/table/schema", "sqlite:///tables/a", "screenshot://2024-01-01", "greeting://World",
		"config://app", "ui://widget/app.html?v=1", "github://repos/o/r/contents/a.b", "docs://guide/1.2",
		"https://h.example/a;b?c=d", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
	} {
		if open := isOpen(t, guard.Rules{Resources: []guard.Rule{{Name: "*"}}},
			uri); open == (uri == "file:///tmp/x~1") {
			// the short name of another, on Windows
			t.Errorf("%q: open is %v", uri, open)
		}
	}
	rules := guard.Rules{Resources: []guard.Rule{
		{Name: "https://h.example/list"}, {Name: "https://h.example/list?page=*"}, {Name: "note://a"},
		{Name: "note://a;v=*"}, {Name: "https://p.example/*"}, {Name: "http://p.example/*"},
		{Name: "https://p.example:8443/*"},
	}}
	for _, uri := range []string{"https://h.example/list", "https://h.example/list?page=2", "note://a", "note://a;v=2",
		"https://p.example/x", "http://p.example/x", "https://p.example:8443/x"} {
		if !isOpen(t, rules, uri) {
			t.Errorf("%q is closed", uri)
		}
	}
}

// A template is decided by what it expands to, in lists as in completions.
func TestTemplatesAreDecidedByWhatTheyExpandTo(t *testing.T) {
	f := newFort(t, func(p *guard.Policy) {
		rules := secrets
		rules.Methods = []guard.Rule{{Name: "completion/complete"}}
		tables, err := guard.Always(rules)
		must(t, err)
		p.Tables = tables
	})
	for template, open := range map[string]bool{
		"file:///public/{name}": true, "file:///public{/name*}": true, "https://public.example/{id}{?page,size}": true,
		"note://public/{+path}":  true,
		"file:///private/{name}": false, "file:///private{/name}": false, "file:/private/{name}": false,
		"file://localhost/private/{name}": false, "file:///x/../private/{name}": false,
		"https://internal.example:443/{id}": false, "https://INTERNAL.example/{id}": false, "file:///one{?x}": false,
		"file:///one{#x}": false, "file:///%70rivate/{name}": false,
	} {
		if w := f.send(f.token(), complete(`"type":"ref/resource","uri":"`+template+`"`)); (w.Code == 200 &&
			len(f.behind.got()) == 1) != open {
			t.Errorf("completing %s: got %d %s", template, w.Code, w.Body)
		}
		for method, entry := range map[string]string{
			"resources/templates/list": `"resourceTemplates":[{"name":"x","uriTemplate":"`,
			"resources/list":           `"resources":[{"name":"x","uri":"`} {
			named := template
			if method == "resources/list" {
				named = strings.NewReplacer("{name}", "a", "{/name}", "/a", "{/name*}", "/a", "{id}", "a",
					"{?page,size}", "?page=1", "{?x}", "?x", "{#x}", "#x", "{+path}", "a/b").Replace(template)
			}
			f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{`+entry+named+`"}]}}`)
			}
			w := f.send(f.token(), `{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`)
			if f.behind.got(); w.Code != 200 || strings.Contains(w.Body.String(), named) != open {
				t.Errorf("%s with %s: got %d %s", method, named, w.Code, w.Body)
			}
			f.behind.answer = nil
		}
	}
}

// spell writes an address of a secret, or of nothing, in one of many ways.
func spell(r *rand.Rand) string {
	of := func(all ...string) string { return all[r.IntN(len(all))] }
	uri := of("file:///private/key.txt", "https://internal.example/x", "file:///public/key.txt",
		"https://public.example/a/b?c=d#e", "http://127.0.0.1:8080/a", "wss://internal.example/x", "https://[::1]/x",
		"ftp://h/x")
	pieces := []string{
		"/", "\\", ":", "@", ".", "..", "/./", "/../", "//", "?", "#", " ", "\t", "\n", "\x00", "%", "%2e", "%2F",
		"%00", "%5c", "%25", "%61", "%E9", ":443", ":80", ":0443", ":", "localhost", "LOCALHOST", "user@", "u:p@",
		"\u00a0", "\u3002", "\uff0e", "\u00ad", "\u0130", "\u017f", "\u212a", "\u00e9", "\U0001f600", "xn--", "xn--a",
		"[", "]", "|", "C|", "c:", "{", "}", "<", ">", "\"", "'", "`", "^", "0x7f", "127.1", "1", ";", "&", "+", "$",
		"!", "*", "~", "_", "-", "\ufeff", "\u200d", "private", "X",
	}
	for range 1 + r.IntN(4) {
		at := r.IntN(len(uri) + 1)
		switch r.IntN(6) {
		case 0, 1, 2:
			uri = uri[:at] + pieces[r.IntN(len(pieces))] + uri[at:]
		case 3:
			uri = uri[:at] + uri[min(at+1, len(uri)):]
		case 4:
			end := min(at+1+r.IntN(3), len(uri))
			uri = uri[:at] + strings.ToUpper(uri[at:end]) + uri[end:]
		default:
			uri = uri[:at] + pieces[r.IntN(len(pieces))] + uri[min(at+1, len(uri)):]
		}
	}
	return uri
}

// checkSpelling holds a URI that is open by a star against the WHATWG URL rules.
func checkSpelling(t *testing.T, table *guard.Table, uri string) (open bool) {
	t.Helper()
	if d := table.Decide(mcp.Caller{}, guard.KindResource, uri); !d.Allowed || d.Rule != "*" {
		return false
	}
	u, err := whatwg.Parse(uri)
	if err != nil {
		if scheme, _, _ := strings.Cut(uri, ":"); strings.Contains(" http https ws wss ftp file ", " "+scheme+" ") {
			t.Errorf("%q is open, and no URL: %v", uri, err)
		}
		return true
	}
	switch u.Scheme() {
	case "http", "https", "ws", "wss", "ftp", "file":
	default:
		return true
	}
	if u.Href(false) != uri {
		t.Errorf("%q is open, and is resolved to %q", uri, u.Href(false))
	}
	path := u.Pathname()
	for range 3 {
		if strings.HasPrefix(strings.ToLower(path), "/private/") && u.Scheme() == "file" ||
			u.Host() == "internal.example" && u.Scheme() == "https" {
			t.Errorf("%q is open, and secret", uri)
		}
		next, err := url.PathUnescape(path)
		if err != nil {
			break
		}
		path = next
	}
	return true
}

// What a star opens is, byte for byte, what the WHATWG URL rules make of it, in 100,000 spellings.
func TestSpellingsAgainstTheURLStandard(t *testing.T) {
	table, err := secrets.Compile()
	must(t, err)
	r := rand.New(rand.NewPCG(10, 5))
	open := 0
	for range 100_000 {
		if checkSpelling(t, table, spell(r)) {
			open++
		}
	}
	if open < 5_000 {
		t.Errorf("only %d spellings are open: nothing was tried", open)
	}
}

func FuzzSpellings(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 10))
	for range 100 {
		f.Add(spell(r))
	}
	table, err := secrets.Compile()
	must(f, err)
	f.Fuzz(func(t *testing.T, uri string) { checkSpelling(t, table, uri) })
}

// A subscription that names no resource is a method like others: revision 2026-07-28 has removed
// it, and the server's own 404 passes where the method may.
func TestSubscriptionWithoutURIIsDecidedByTheMethodsRules(t *testing.T) {
	for _, method := range []string{"resources/subscribe", "resources/unsubscribe"} {
		for may, want := range map[string]int{method: 1, "another": 0} {
			f := newFort(t, func(p *guard.Policy) {
				rules := secrets
				rules.Methods = []guard.Rule{{Name: may}}
				tables, err := guard.Always(rules)
				must(t, err)
				p.Tables = tables
			})
			f.send(f.token(), `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{}}`)
			if got := len(f.behind.got()); got != want {
				t.Errorf("%s without a URI, with a rule for %s: got %d requests at the server, want %d", method, may,
					got, want)
			}
			f.send(f.token(), `{"jsonrpc":"2.0","id":1,"method":"`+method+
				`","params":{"uri":"file:///private/key.txt"}}`)
			if got := len(f.behind.got()); got != 0 {
				t.Errorf("%s of a secret, with a rule for %s: got %d requests at the server, want none", method,
					may, got)
			}
		}
	}
}

// A rule whose own URI is percent-encoded was walked round by another encoding of the same address,
// and a pattern for tools, prompts or methods by other letters.
func TestRulesAreNotWalkedRoundByAnotherSpelling(t *testing.T) {
	rules := guard.Rules{
		Resources: []guard.Rule{
			{Name: "file:///my%20private/*", Scopes: []string{"secret"}},
			{Name: "file:///secret%20key.txt", Scopes: []string{"secret"}},
			{Name: "https://h.example/my%20private/*", Scopes: []string{"secret"}},
			{Name: "note://caf%C3%A9/*", Scopes: []string{"secret"}},
			{Name: "file:///*"}, {Name: "https://h.example/*"}, {Name: "note://*"},
		},
		Tools: []guard.Rule{{Name: "put_*", Scopes: []string{"secret"}}, {Name: "*"}},
		Prompts: []guard.Rule{{Name: "put_*", Scopes: []string{"secret"}}, {Name: "secret", Scopes: []string{"secret"}},
			{Name: "*"}},
		Methods: []guard.Rule{{Name: "*"}},
	}
	table, err := rules.Compile()
	must(t, err)
	for kind, names := range map[string]map[string]bool{ // open to somebody without the scope
		guard.KindResource: {
			"file:///my%20private/key": false, "file:///my%20%70rivate/key": false, "file:///%6dy%20private/key": false,
			"file:///my%20private%2Fkey": false,
			"file:///MY%20private/key":   false, "file:///secret%20key.txt": false, "file:///secret%20%6bey.txt": false,
			"https://h.example/my%20%70rivate/key": false,
			// the folder
			"file:///my%20private": false, "file:///my%20private?x": false, "file:///my%20private#x": false,
			"https://h.example/my%20private": false, "note://caf%C3%A9": false, "note://caf%C3%A9?x": false,
			"file:///my%20pri%E2%80%8Cvate/key": false, "file:///my%20pri%EF%BB%BFvate/key": false,
			"file:///my%20pri%C2%ADvate/key": false, "note://ca%E2%80%8Bf%C3%A9/x": false,
			"file:///secret%20key%E2%81%A0.txt": false,
			"note:%20caf%C3%A9/x":               false, "note:+caf%C3%A9/x": false, "note://%20caf%C3%A9/x": false,
			"note:///+caf%C3%A9/x": false,
			"note://c%61f%C3%A9/x": false, "note://caf%c3%a9/x": false, "file:///my%20public/key": true,
			"https://h.example/a%20b": true,
		},
		guard.KindTool: {"put_note": false, "PUT_note": false, "Put_x": false, "get_note": true},
		guard.KindPrompt: {"put_x": false, "PUT_x": false, "secret": false, "SECRET": false, "secret\x00": false,
			"secret\u200b": false, " secret": false, "greet": true},
		guard.KindMethod: {"tools/call ": false, "tools/call\x00": false, "Tools/Call": false, "TOOLS/LIST": false,
			"tasks/get": true},
	} {
		for name, open := range names {
			if d := table.Decide(mcp.Caller{}, kind, name); d.Allowed != open {
				t.Errorf("%s %q: got allowed %v by %q, want %v", kind, name, d.Allowed, d.Rule, open)
			}
		}
	}
	for _, name := range []string{"file:///my%20private/key", "https://h.example/my%20private/a%20b",
		"note://caf%C3%A9/x"} {
		if d := table.Decide(mcp.Caller{Scopes: []string{"secret"}}, guard.KindResource, name); !d.Allowed {
			t.Errorf("%s is closed to who has the scope", name)
		}
	}
}
