package issuer

import (
	"net/url"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// target finds the resource that a request names (RFC 8707 section 2): one of ours, by its exact
// URI or an alias; none means the default one. relaxed names the relaxation that this needed, if
// any.
func (e *Engine) target(form url.Values) (found Resource, relaxed string, err error) {
	first := e.Resources.All()[0]
	found, relaxed = first, RelaxedNoResource
	for i, raw := range form["resource"] {
		uri, err := oauth.ParseIndicator(raw)
		if err != nil {
			return Resource{}, "", oauth.InvalidTarget("resource must be an absolute URI without fragment; expected " +
				first.URI)
		}
		r, alias, ok := e.named(uri)
		if !ok || (i > 0 && r.URI != found.URI) {
			return Resource{}, "",
				oauth.InvalidTarget("this resource is not served here, or is not the only one; expected " + first.URI)
		}
		if found, relaxed = r, ""; alias {
			relaxed = RelaxedResourceAlias
		}
	}
	return found, relaxed, nil
}

// named finds the resource of a URI or an alias. The URI of a resource takes precedence over an
// alias of another, and both over the issuer, which may share its origin with a server whose
// clients name the origin.
func (e *Engine) named(uri string) (r Resource, alias, ok bool) {
	if r, ok := e.Resource(uri); ok && r.URI != e.identity.URI {
		return r, false, true
	}
	for _, r := range e.Resources.All() {
		if alias, ok := r.named(uri); ok {
			return r, alias, true
		}
	}
	return e.identity, false, uri == e.identity.URI
}

// checkTarget refuses a resource parameter that is not the grant's resource (RFC 8707 section 2.2).
func checkTarget(form url.Values, granted Resource) (relaxed string, err error) {
	for _, raw := range form["resource"] {
		uri, err := oauth.ParseIndicator(raw)
		if err != nil {
			return "", oauth.InvalidTarget("send no resource, or the one of this permission: " + granted.URI)
		}
		alias, ok := granted.named(uri)
		if !ok {
			return "", oauth.InvalidTarget("send no resource, or the one of this permission: " + granted.URI)
		}
		if alias {
			relaxed = RelaxedResourceAlias
		}
	}
	return relaxed, nil
}
