package issuer

import (
	"net/url"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// RelaxedOtherScopes names that a request asked for scopes of another of our resources, too.
const RelaxedOtherScopes = "scopes of another resource"

// MaxNonce bounds the nonce parameter, in bytes.
const MaxNonce = 2048

// requested reads the scope parameter of a request for a resource. Clients ask for all scopes of
// the metadata, which list those of all resources: names that only another resource of ours has
// are left out, and relaxed says so. Names that no resource has stay, for the caller to compare
// with what may be granted. If no other scope was requested, the error is an *oauth.Error: an
// empty list would mean the default ones.
func (e *Engine) requested(form url.Values, resource Resource) (scopes []string, relaxed string, err error) {
	all, err := oauth.ParseScope(form.Get("scope"))
	if err != nil {
		return nil, "", oauth.InvalidScope(err.Error())
	}
	all = withoutOffline(all)
	others := e.scopesOfOthers(resource)
	if scopes = slices.DeleteFunc(slices.Clone(all),
		func(s string) bool { return others[s] }); len(scopes) == len(all) {
		return scopes, "", nil
	}
	if _, own := identityOf(scopes); len(own) == 0 && (len(scopes) == 0 || resource.URI != e.identity.URI) {
		return nil, "", oauth.InvalidScope("the scopes are of another resource; " + resource.URI + " offers: " +
			oauth.FormatScope(resource.ScopeNames()))
	}
	return scopes, RelaxedOtherScopes, nil
}

// scopesOfOthers are the names of scopes that other resources have and this one has not.
func (e *Engine) scopesOfOthers(resource Resource) map[string]bool {
	all := e.Resources.All()
	if len(all) < 2 && (len(all) == 0 || all[0].URI == resource.URI) {
		return nil
	}
	names := map[string]bool{}
	for _, r := range all {
		if r.URI != resource.URI {
			for _, s := range r.Scopes {
				names[s.Name] = true
			}
		}
	}
	for _, s := range resource.Scopes {
		delete(names, s.Name)
	}
	for _, s := range IdentityScopes() {
		delete(names, s)
	}
	return names
}

// withoutOffline drops offline_access: clients may ask for it, but a refresh token depends on the
// grant type.
func withoutOffline(scopes []string) []string {
	return slices.DeleteFunc(scopes, func(s string) bool { return s == OfflineAccess })
}

// OfflineAccess is the scope by which clients ask for a refresh token (OpenID Connect Core section
// 11). It allows no tool and is in no token.
const OfflineAccess = "offline_access"
