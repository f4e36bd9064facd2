package oauth_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

func TestScope(t *testing.T) {
	for in, want := range map[string][]string{
		"": nil, "a": {"a"}, "a b": {"a", "b"}, "b a b": {"b", "a"}, "a  b": {"a", "b"},
		"customers:read !#[]~": {"customers:read", "!#[]~"},
	} {
		if got, err := oauth.ParseScope(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"a\"b", "a\\b", "a\tb", "a\nb", "ä", "a\x00",
		strings.Repeat("x", 1) + strings.Join(many(oauth.MaxScopes+1), " ")} {
		if got, err := oauth.ParseScope(bad); err == nil {
			t.Errorf("%q: got %q, want an error", bad, got)
		}
	}
	if got := oauth.Intersect([]string{"c", "a", "b"}, []string{"a", "b", "c"}, []string{"b", "c"}); !slices.Equal(got,
		[]string{"c", "b"}) {
		t.Errorf("intersection: got %q, want c b", got)
	}
	if oauth.Subset([]string{"a", "A"}, []string{"a", "b"}) || !oauth.Subset(nil, nil) ||
		!oauth.Subset([]string{"a"}, []string{"a"}) {
		t.Error("subsets are not exact")
	}
}

func many(n int) []string {
	var all []string
	for i := range n {
		all = append(all, "s"+strconv.Itoa(i))
	}
	return all
}

// RFC 8707 §2, RFC 3986 §6.2.3
func TestParseIndicator(t *testing.T) {
	for in, want := range map[string]string{
		"https://MCP.example/": "https://mcp.example", "api://Example": "api://Example",
		"urn:example:mcp": "urn:example:mcp",
		"mcp":             "", "/mcp": "", "api:": "", "api://x#f": "", "api://u@x": "", "api://x y": "",
		"https://":    "",
		"https://x/#": "",
	} {
		if got, err := oauth.ParseIndicator(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q %v, want %q", in, got, err, want)
		}
	}
}

func TestParseResource(t *testing.T) {
	for in, want := range map[string]string{
		"https://mcp.example/mcp": "https://mcp.example/mcp", "HTTPS://MCP.Example/Mcp": "https://mcp.example/Mcp",
		"https://mcp.example/": "https://mcp.example",
		"https://mcp.example":  "https://mcp.example", "https://mcp.example/mcp/": "https://mcp.example/mcp/",
		"https://mcp.example:8443/a%2Fb?x=1": "https://mcp.example:8443/a%2Fb?x=1",
		"http://localhost:8081/mcp":          "http://localhost:8081/mcp",
		"https://mcp.example/mcp?":           "https://mcp.example/mcp?",
	} {
		if got, err := oauth.ParseResource(in); err != nil || got != want {
			t.Errorf("%q: got %q %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "mcp.example/mcp", "//mcp.example", "/mcp", "https://", "https:///mcp", "ftp://mcp.example",
		"javascript:alert(1)", "urn:x:y", "https://mcp.example/mcp#f", "https://mcp.example/mcp#",
		"https://u:p@mcp.example/mcp", "https://u@mcp.example", "https://mcp.example\\@evil.example",
		"https://mcp.example/a b", "https://mcp.example/\n", " https://mcp.example", "https://mcp.example:port/",
		"https://mcp.exampl\u212a/", "https://m\u00fcp.example", "https://[fe80::1%25en0]/mcp",
	} {
		if got, err := oauth.ParseResource(bad); err == nil {
			t.Errorf("%q: got %q, want an error", bad, got)
		}
	}
}

func TestPlainResource(t *testing.T) {
	for in, want := range map[string]string{
		"https://mcp.example:443/mcp": "https://mcp.example/mcp", "http://mcp.example:80": "http://mcp.example",
		"http://mcp.example:443/": "http://mcp.example:443", "https://mcp.example:0443/mcp": "https://mcp.example/mcp",
		"https://MCP.example./mcp":   "https://mcp.example/mcp",
		"https://mcp.example:/mcp?x": "https://mcp.example/mcp?x", "https://[0:0::1]:443/mcp": "https://[::1]/mcp",
		"http://127.0.0.1:8081/a%2Fb":  "http://127.0.0.1:8081/a%2Fb",
		"https://mcp.example/a/../mcp": "", "https://mcp.example/%2e%2e/mcp": "", "https://mcp.example../mcp": "",
		"https://127.1/mcp": "", "https://0x7f000001/mcp": "", "https://2130706433/mcp": "",
		"https://mcp.example:65536/mcp": "", "https://./mcp": "",
	} {
		if got, err := oauth.PlainResource(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q %v, want %q", in, got, err, want)
		}
	}
}

// An address of ours is written as every reader writes it, or refused with the form that is.
func TestAddressesAreInTheirPlainForm(t *testing.T) {
	for in, plain := range map[string]string{
		"https://auth.example": "", "http://localhost:9000": "", "https://auth.example/Tenant/": "",
		"https://auth.example:8443": "", "http://[::1]:9000": "",
		"https://auth.example:443": "https://auth.example", "http://localhost:80": "http://localhost",
		"HTTPS://auth.example": "https://auth.example", "https://Auth.Example/Tenant/": "https://auth.example/Tenant/",
		"https://auth.example.": "https://auth.example", "https://auth.example.:443/x": "https://auth.example/x",
		"https://auth.example:": "https://auth.example", "http://localhost:09000": "http://localhost:9000",
		"auth.example": "-", "https://": "-", "https://m\u00fcp.example": "-", "https://u@auth.example": "-",
		"https://auth.example..": "-", "https://127.1": "-", "ftp://auth.example": "-",
	} {
		err := oauth.CheckPlain(in)
		switch {
		case plain == "" && err == nil, plain == "-" && err != nil:
		case plain == "" || plain == "-" || err == nil || !strings.HasSuffix(err.Error(), "give it as "+plain):
			t.Errorf("%q: %v, want %q", in, err, plain)
		}
	}
}

// A value cannot leave its quotes, nor its line (RFC 9110 §5.6.4).
func TestChallenge(t *testing.T) {
	for want, c := range map[string]oauth.Challenge{
		`Bearer`: {},
		`Bearer resource_metadata="https://x.example/m", scope="a b"`: {Scope: []string{"a", "b"},
			ResourceMetadata: "https://x.example/m"},
		`DPoP error="invalid_dpop_proof", algs="ES256 EdDSA"`: {Scheme: "DPoP",
			Error: "invalid_dpop_proof", Algorithms: []string{"ES256", "EdDSA"}}, // RFC 9449 §7.1
		`Bearer error="invalid_token", error_description="it's over"`: {Error: "invalid_token",
			ErrorDescription: "it's over"},
		`Bearer error="x", error_description="a', scope='admin  evil: /y"`: {Error: "x",
			ErrorDescription: "a\", scope=\"admin\r\nevil: \\y"},
	} {
		if got := c.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// RFC 9728 §3.1
func TestResourceMetadataURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://mcp.example/mcp":   "https://mcp.example/.well-known/oauth-protected-resource/mcp",
		"https://mcp.example":       "https://mcp.example/.well-known/oauth-protected-resource",
		"https://mcp.example/":      "https://mcp.example/.well-known/oauth-protected-resource",
		"http://localhost:8081/a/b": "http://localhost:8081/.well-known/oauth-protected-resource/a/b",
	} {
		if got := oauth.ResourceMetadataURL(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
