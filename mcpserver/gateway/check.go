package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

const (
	defaultListen          = "127.0.0.1:8090"
	defaultAssertionHeader = "Gatehouse-Caller"
	defaultTenantEnv       = "GATEHOUSE_TENANT"
)

// check sets defaults and checks. Its errors name the setting and say what to do.
func (f *File) check() error {
	fill(&f.Listen, defaultListen)
	fill(&f.RedisPrefix, "gatehouse:")
	if len(f.Algorithms) == 0 {
		f.Algorithms = []string{"ES256"}
	}
	for _, a := range f.Algorithms {
		if !slices.Contains([]string{"ES256", "RS256", "EdDSA"}, a) {
			return fmt.Errorf("algorithm %q is not supported; use ES256, RS256 or EdDSA", a)
		}
	}
	fill(&f.DPoPNonce, dpop.NonceOptional)
	switch {
	case f.DPoPNonce != dpop.NonceOptional && f.DPoPNonce != dpop.NonceRequired:
		return fmt.Errorf("dpop_nonce is %q, expected %s or %s", f.DPoPNonce, dpop.NonceRequired, dpop.NonceOptional)
	case f.DPoPNonce == dpop.NonceRequired && f.Redis != (Secret{}):
		return errors.New("dpop_nonce: required and redis do not go together yet: replicas have no key for nonces " +
			"between them")
	}
	if err := dpop.CheckWindow(f.DPoPWindow); err != nil {
		return fmt.Errorf("dpop_window: %w", err)
	}
	if f.CallsPerMinute == 0 {
		f.CallsPerMinute = 600
	}
	if f.DocumentsPerMinute == 0 {
		f.DocumentsPerMinute = 600
	}
	if f.CallTimeout < 0 {
		return fmt.Errorf("call_timeout %s is negative", f.CallTimeout)
	}
	if f.CallRetention > 0 && f.CallRetention < 24*time.Hour {
		return fmt.Errorf("call_retention %s is shorter than a day", f.CallRetention)
	}
	if f.Issuer == "" {
		return errors.New("issuer is not set; give the issuer identifier, as https://auth.example.com")
	}
	if err := oauth.CheckPlain(f.Issuer); err != nil {
		return fmt.Errorf("issuer %q %w", f.Issuer, err)
	}
	if _, err := f.checkURL("issuer", f.Issuer); err != nil {
		return err
	}
	if _, err := config.Networks(strings.Join(f.TrustedProxies, ",")); err != nil {
		return fmt.Errorf("trusted_proxies: %w", err)
	}
	if f.ShutdownDelay != nil && *f.ShutdownDelay < 0 {
		return fmt.Errorf("shutdown_delay %s: a duration of 0s or more is expected", *f.ShutdownDelay)
	}
	if f.ClientID != "" && f.ClientSecret == (Secret{}) {
		return errors.New("client_id and client_secret go together; gatehouse client create --server makes both")
	}
	if len(f.Upstreams) == 0 {
		return errors.New("upstreams is empty; name at least one server")
	}
	names, paths := map[string]bool{}, map[string]string{}
	for i := range f.Upstreams {
		u := &f.Upstreams[i]
		if err := f.checkUpstream(u); err != nil {
			return fmt.Errorf("upstream %q: %w", u.Name, err)
		}
		if names[u.Name] {
			return fmt.Errorf("two upstreams have the name %q", u.Name)
		}
		at := pathOf(u.Resource)
		if other := paths[at]; other != "" {
			return fmt.Errorf("the upstreams %q and %q have the same path %s: each needs its own on the gateway's "+
				"listener",
				other, u.Name, at)
		}
		names[u.Name], paths[at] = true, u.Name
	}
	return nil
}

func fill(word *string, otherwise string) {
	if *word == "" {
		*word = otherwise
	}
}

func (f *File) checkURL(name, value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Fragment != "" {
		return nil, fmt.Errorf("%s %q is not an http(s) URL", name, value)
	}
	if u.User != nil {
		return nil, fmt.Errorf("%s has a user in it; give a credential", name)
	}
	if u.Scheme == "http" && !config.ThisMachine(u.Hostname()) && !f.InsecureHTTP {
		return nil, fmt.Errorf("%s %q is plain http on a host that is not this machine; use https, or insecure_http",
			name, value)
	}
	return u, nil
}

// checkUpstream sets defaults of one upstream and checks it.
func (f *File) checkUpstream(u *Upstream) error {
	if !isName(u.Name) {
		return errors.New("its name is not 1 to 32 characters of a-z, 0-9 and hyphens")
	}
	fill(&u.Title, u.Name)
	uri, err := oauth.PlainResource(u.Resource)
	if err != nil || strings.Contains(uri, "?") {
		return fmt.Errorf("resource %q is not an absolute http(s) URI without query, fragment, userinfo and dot "+
			"segments (RFC 8707 section 2); give it as https://mcp.example.com/%s", u.Resource, u.Name)
	}
	if uri != u.Resource {
		return fmt.Errorf("resource %q is not in its plain form (RFC 8707 section 2); give it as %s", u.Resource, uri)
	}
	if _, err := f.checkURL("resource", u.Resource); err != nil {
		return err
	}
	if at := pathOf(u.Resource); strings.HasPrefix(at, "/.well-known") || at == "/healthz" || at == "/readyz" {
		return fmt.Errorf("its path %s is reserved for the gateway", at)
	}
	if err := f.checkWay(u); err != nil {
		return err
	}
	if _, err := u.views(nil); err != nil {
		return err
	}
	return u.checkScopes()
}

// checkWay checks how the server is reached.
func (f *File) checkWay(u *Upstream) error {
	switch {
	case u.URL != "" && len(u.Command) > 0:
		return errors.New("url and command are both set; give one")
	case (u.ClientCertificate == "") != (u.ClientKey == ""):
		return errors.New("client_certificate and client_key go together")
	case (u.CA != "" || u.ClientCertificate != "") && !strings.HasPrefix(u.URL, "https:"):
		return errors.New("ca, client_certificate and client_key are for an https url")
	case len(u.Command) > 0:
		return u.checkCommand()
	case u.URL == "":
		return errors.New("neither url nor command is set")
	case u.State != "" || u.Directory != "" || len(u.Environment) > 0 || len(u.Set) > 0 || u.TenantEnv != "":
		return errors.New("state, directory, environment, set and tenant_env are for a command")
	}
	if _, err := f.checkURL("url", u.URL); err != nil {
		return err
	}
	fill(&u.Audience, u.URL)
	fill(&u.AssertionHeader, defaultAssertionHeader)
	c := u.Credential
	switch {
	case c == (Credential{}):
	case c.Header == "" || c.Secret == (Secret{}):
		return errors.New("a credential needs a header, and a secret in env or file")
	}
	for _, name := range []string{u.AssertionHeader, c.Header} {
		if strings.ContainsFunc(name, notToken) {
			return fmt.Errorf("%q is not a header name", name)
		}
		if slices.Contains([]string{"host", "content-length", "content-type", "transfer-encoding", "connection",
			"trailer", "te", "upgrade"}, strings.ToLower(name)) {
			return fmt.Errorf("%q is reserved by HTTP; choose another header", name)
		}
	}
	return nil
}

// checkCommand checks how the server is started.
func (u *Upstream) checkCommand() error {
	if u.Credential != (Credential{}) || u.Audience != "" || u.AssertionHeader != "" {
		return errors.New("credential, audience and assertion_header are for a url: a process is told its tenant " +
			"when it starts")
	}
	fill(&u.TenantEnv, defaultTenantEnv)
	names := append([]string{u.TenantEnv}, u.Environment...)
	for name := range u.Set {
		names = append(names, name)
	}
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, "= \x00") {
			return fmt.Errorf("%q is not a variable name; give values under set", name)
		}
	}
	if u.Command[0] == "" || strings.Contains(u.Command[0], "{tenant}") || strings.Contains(u.Command[0], "{state}") {
		return errors.New("the program itself must be named, and be the same for every tenant")
	}
	if u.State == "" && u.mentions("{state}") {
		return errors.New("{state} stands for a tenant's folder below state, and state is not set")
	}
	return nil
}

// mentions reports whether a placeholder is in the arguments or environment of a process.
func (u *Upstream) mentions(word string) bool {
	given := slices.Concat(u.Command, []string{u.Directory}, slices.Collect(maps.Values(u.Set)))
	return slices.ContainsFunc(given, func(s string) bool { return strings.Contains(s, word) })
}

// shares reports whether all tenants' processes store files in the same place.
func (u *Upstream) shares() bool {
	return len(u.Command) > 0 && u.State == "" && !u.mentions("{tenant}")
}

// checkScopes checks that rules only need scopes of the upstream: a misspelt scope would deny its
// tool to everyone.
func (u *Upstream) checkScopes() error {
	known := map[string]bool{}
	for _, s := range u.Scopes {
		known[s.Name] = true
	}
	for wide, narrow := range u.Implies {
		for _, s := range append([]string{wide}, narrow...) {
			if !known[s] && !strings.HasSuffix(s, ":*") {
				return fmt.Errorf("implies names the scope %q, which is not among its scopes", s)
			}
		}
	}
	for _, rules := range [][]Rule{u.Tools, u.Prompts, u.Resources, u.Methods} {
		for _, r := range rules {
			for _, s := range r.Scopes {
				if !known[s] {
					return fmt.Errorf("the rule for %q needs the scope %q, which is not among its scopes", r.Name, s)
				}
			}
		}
	}
	return nil
}

// rules returns the upstream's rules for the guard.
func (u *Upstream) rules() guard.Rules {
	turn := func(from []Rule) []guard.Rule {
		var to []guard.Rule
		for _, r := range from {
			to = append(to, guard.Rule(r))
		}
		return to
	}
	return guard.Rules{Tools: turn(u.Tools), Prompts: turn(u.Prompts), Resources: turn(u.Resources),
		Methods: turn(u.Methods), Implies: u.Implies}
}

// baseline returns the scopes that a client requests first.
func (u *Upstream) baseline() []string {
	var names []string
	for _, s := range u.Scopes {
		if s.Baseline {
			names = append(names, s.Name)
		}
	}
	return names
}

// pathOf returns the path of a resource URI, at least "/".
func pathOf(resource string) string {
	u, err := url.Parse(resource)
	if err != nil || u.EscapedPath() == "" {
		return "/"
	}
	return u.EscapedPath()
}

// hostOf returns the host of a resource URI, with its port.
func hostOf(resource string) string {
	u, err := url.Parse(resource)
	if err != nil {
		return resource
	}
	return u.Host
}

// isName reports whether a name is short, lower case, and does not look like an option.
func isName(s string) bool {
	return s != "" && len(s) <= 32 && s[0] != '-' && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	})
}

// notToken reports whether a character cannot be in the name of a header (RFC 9110 section 5.6.2).
func notToken(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
}
