package guard_test

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// Who has the log can tell that two calls of a tenant had the same arguments, and nothing of what
// those were; of another tenant's or another tool's call, not even that.
func TestArgumentsAreNamedByAKeyedHash(t *testing.T) {
	var log strings.Builder
	open := func(key string) *fort {
		f := newFort(t, func(p *guard.Policy) { p.ArgumentsKey = config.Secret(key) })
		f.handler = httpd.Handler(f.handler, httpd.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		return f
	}
	const key = "an-arguments-key-of-32-characters"
	named := regexp.MustCompile(` arguments=(\S+)`)
	name := func(f *fort, tenant, tool, arguments string) string {
		t.Helper()
		log.Reset()
		c := f.issuer.Claims(resource, "read", "write")
		c.TenantID = tenant
		f.want(t, f.send(f.issuer.Sign(c), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+
			`","arguments":`+arguments+`}}`), 200)
		if strings.Contains(log.String(), "4711") || strings.Contains(log.String(), key) {
			t.Errorf("the log has what it must not: %s", log.String())
		}
		if m := named.FindStringSubmatch(log.String()); m != nil {
			return m[1]
		}
		return ""
	}
	f := open(key)
	first := name(f, "acme", "read_it", `{"card":"4711"}`)
	if len(first) != 22 {
		t.Errorf("arguments are called %q, want 22 characters", first)
	}
	if again := name(open(key), "acme", "read_it", `{"card":"4711"}`); again != first {
		t.Errorf("the same arguments at another replica are called %q, want %q", again, first)
	}
	for what, other := range map[string]string{
		"other arguments":  name(f, "acme", "read_it", `{"card":"4712"}`),
		"another tenant's": name(f, "globex", "read_it", `{"card":"4711"}`),
		"another tool's":   name(f, "acme", "write_it", `{"card":"4711"}`),
		"of another key":   name(open(key+"!"), "acme", "read_it", `{"card":"4711"}`),
	} {
		if other == first || other == "" {
			t.Errorf("%s are called %q", what, other)
		}
	}
	if none := name(open(""), "acme", "read_it", `{"card":"4711"}`); none != "" {
		t.Errorf("without a key they are called %q", none)
	}
	if _, err := f.guard.Enforce(f.behind, guard.Policy{Tables: func(string) *guard.Table { return nil },
		ArgumentsKey: "short"}); err == nil || !strings.HasPrefix(err.Error(), "policy: the arguments key is shorter") {
		t.Errorf("a short key: %v", err)
	}
}
