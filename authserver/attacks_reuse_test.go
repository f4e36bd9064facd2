package authserver_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
)

// A spent code or refresh token that comes back ends its permission also while the tenant's policy
// lets nothing in: when it does again, what a thief made of it is dead.
func TestReuseEndsThePermissionWhateverThePolicySays(t *testing.T) {
	refuses := map[string]func(*admin.PolicySpec){
		"its client": ways("operator"),
		"its scopes": func(s *admin.PolicySpec) { s.Scopes = &[]string{"tickets:write"} },
		"its age":    func(s *admin.PolicySpec) { life := time.Minute; s.MaxRefreshTokenLifetime = &life },
	}
	onBoth(t, func(t *testing.T, h *testServer) {
		for what, refuse := range refuses {
			for _, spent := range []string{"code", "refresh token"} {
				a, ann := h.register(map[string]any{}), h.person("ann@acme.example")
				code := a.code(ann, "customers:read")
				status, answer := a.token(redemption(code))
				if status != 200 {
					t.Fatalf("redeeming: got %d %v", status, answer)
				}
				stolen, access := answer["refresh_token"].(string), answer["access_token"].(string)
				_, answer = a.token(refreshment(stolen)) // whose successor the thief has
				leaf := answer["refresh_token"].(string)
				h.Clock.step(time.Hour)
				form := map[string]url.Values{"code": redemption(code), "refresh token": refreshment(stolen)}[spent]
				h.allows("acme", refuse)
				status, answer = a.token(form)
				wantError(t, "a spent "+spent+" while the policy refuses "+what, status, answer, 400, "invalid_grant")
				_, body := claims(t, access)
				g, err := h.Store.Grant(t.Context(), body["grant_id"].(string))
				must(t, err)
				if !g.Revoked() || g.RevokeReason != "a used code or refresh token came back" {
					t.Errorf("a spent %s while the policy refuses %s: the permission is %+v, want it ended", spent,
						what, g)
				}
				h.allows("acme", func(s *admin.PolicySpec) {
					never := time.Duration(0)
					s.Registrations, s.Scopes, s.MaxRefreshTokenLifetime = &[]string{}, &allScopes, &never
				})
				if a.alive(leaf) {
					t.Errorf("a spent %s while the policy refused %s: the newest lives on", spent, what)
				}
			}
		}
	})
}

// What is forgiven is forgiven under a policy, too: a lost answer that is asked for again while the
// policy refuses ends nothing.
func TestALostAnswerEndsNothingWhileAPolicyRefuses(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	_, parent := a.tokens(h.person("ann@acme.example"), "customers:read")
	_, answer := a.token(refreshment(parent))
	h.allows("acme", ways("operator"))
	status, refused := a.token(refreshment(parent))
	wantError(t, "while the policy refuses", status, refused, 400, "invalid_grant")
	h.allows("acme", ways())
	if !a.alive(answer["refresh_token"].(string)) {
		t.Error("a lost answer ended the permission")
	}
}

// DP-03: a proof that was used before ends nothing, though it is of the right key: who has
// overheard it has no key.
func TestReuseWithAnOverheardProofEndsNothing(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	p := a.prover()
	_, parent := p.bound(h.person("ann@acme.example"))
	status, answer := p.token(refreshment(parent))
	if status != 200 {
		t.Fatalf("renewing: got %d %v", status, answer)
	}
	leaf := answer["refresh_token"].(string)
	h.Clock.step(40 * time.Second) // nothing is forgiven any more
	p.freshen()
	proof := p.proof("/oauth2/token")
	status, answer, _ = p.send("/oauth2/token", refreshment(leaf), proof)
	if status != 200 {
		t.Fatalf("renewing once more: got %d %v", status, answer)
	}
	leaf = answer["refresh_token"].(string)
	status, answer, _ = p.send("/oauth2/token", refreshment(parent), proof)
	wantError(t, "an overheard proof", status, answer, 400, "invalid_dpop_proof")
	if status, answer := p.token(refreshment(leaf)); status != 200 {
		t.Errorf("the newest: got %d %v, want it alive", status, answer)
	}
}
