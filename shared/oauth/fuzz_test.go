package oauth_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// FuzzChallenge: whatever a challenge is made of, it stays inside its quotes and its line, and
// another reader finds the parameters that were written (RFC 9110 §11.2).
func FuzzChallenge(f *testing.F) {
	for _, s := range []string{"invalid_token", `a", scope="admin`, `a\`, "a\r\nSet-Cookie: x=1", "a\x00b", "ünï",
		"\xff", "a\u2028b", "\x1b[31m", `\"`, ", Basic realm="} {
		f.Add(s, s, s, s)
	}
	f.Fuzz(func(t *testing.T, code, description, scope, metadata string) {
		c := oauth.Challenge{Error: code, ErrorDescription: description, Scope: []string{scope},
			ResourceMetadata: metadata, Algorithms: []string{"ES256"}}
		got := c.String()
		for i := range len(got) {
			if got[i] < ' ' || got[i] > '~' {
				t.Fatalf("byte %d of %q cannot be in a header", i, got)
			}
		}
		want := []string{}
		for _, p := range []struct{ name, value string }{{"error", code}, {"error_description", description},
			{"algs", "ES256"}, {"resource_metadata", metadata}, {"scope", scope}} {
			if p.value != "" {
				want = append(want, p.name)
			}
		}
		if names := parameters(t, got); !slices.Equal(names, want) {
			t.Errorf("%q has the parameters %v, want %v", got, names, want)
		}
	})
}

// parameters reads a challenge as somebody else would, and returns its parameters' names.
func parameters(t *testing.T, challenge string) []string {
	t.Helper()
	rest, ok := strings.CutPrefix(challenge, "Bearer ")
	if !ok {
		t.Fatalf("%q is no Bearer challenge", challenge)
	}
	names := []string{}
	for {
		name, after, ok := strings.Cut(rest, `="`)
		if !ok || strings.ContainsAny(name, `" ,=\`) {
			t.Fatalf("%q: at %q stands no parameter", challenge, rest)
		}
		names = append(names, name)
		end := 0
		for end < len(after) && after[end] != '"' {
			if after[end] == '\\' {
				end++ // a quoted pair
			}
			end++
		}
		if end >= len(after) {
			t.Fatalf("%q: the value of %s does not end", challenge, name)
		}
		if rest = after[end+1:]; rest == "" {
			return names
		}
		if rest, ok = strings.CutPrefix(rest, ", "); !ok {
			t.Fatalf("%q: %q follows the value of %s", challenge, after[end+1:], name)
		}
	}
}

// FuzzParseResource: the comparable form is one that stays as it is, and it names the same host.
func FuzzParseResource(f *testing.F) {
	for _, s := range []string{
		"https://mcp.example/mcp", "HTTPS://MCP.Example/Mcp", "https://mcp.example/",
		"https://mcp.example:8443/a%2Fb?x=1", "http://[::1]:8081/mcp", "https://mcp.example/mcp?",
		"https://[fe80::1%25en0]/", "https://mcp.exampl\u212a/", "https://m\u00e9.example/é", "https://xn--mcp.example",
		"https://u@mcp.example", "https://mcp.example\\@evil.example", "https://mcp.example/%zz",
		"https://mcp.example//", "https://mcp.example/a/../b", "https://mcp.example:", "https:///mcp", "https:mcp",
		"https://%6dcp.example", "https://mcp.example/;x", "https://mcp.example/\u202e",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := oauth.ParseResource(s)
		if err != nil {
			return
		}
		if again, err := oauth.ParseResource(got); err != nil || again != got {
			t.Errorf("%q is %q, and that is %q %v", s, got, again, err)
		}
		in, err := url.Parse(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		out, err := url.Parse(got)
		if err != nil || !equalASCII(in.Host, out.Host) || out.User != nil || out.Fragment != "" ||
			in.RawQuery != out.RawQuery || strings.TrimSuffix(in.Path, "/") != strings.TrimSuffix(out.Path, "/") {
			t.Errorf("%q is %q, which names another place: %v", s, got, err)
		}
	})
}

// equalASCII compares but for the case of ASCII letters, which is all that two names of one host
// may differ in.
func equalASCII(a, b string) bool {
	lower := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, s)
	}
	return lower(a) == lower(b)
}
