package authserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
)

// A token that is bound to a key cannot be exchanged for one that is not (RFC 9449 §1): anyone who
// stole it has no use of it.
func TestABoundTokenStaysBound(t *testing.T) {
	h := startServer(t)
	p := h.keeper().prover()
	access, _ := p.bound(h.person("ann@acme.example"))
	status, answer := p.app.token(exchanging(access))
	wantError(t, "exchanged without its key", status, answer, 400, "invalid_request")
	status, answer = p.other().token(exchanging(access))
	wantError(t, "exchanged with another key", status, answer, 400, "invalid_request")
	status, answer = p.token(exchanging(access))
	if status != 200 || answer["token_type"] != "DPoP" {
		t.Fatalf("with its key: got %d %v", status, answer)
	}
	p.want(answer)
}

// A server that passes on a caller whose token is bound gets one that is bound to a key of its own,
// or none.
func TestABoundCallerStaysBoundOnTheWay(t *testing.T) {
	h := startServer(t, withBilling)
	c, secret, err := h.Server.Operator().CreateClient(t.Context(),
		admin.ClientSpec{Name: "server", Resource: resourceURI, Scopes: []string{"customers:read"}})
	must(t, err)
	crm := app{h, c.ID, secret}
	access, _ := h.keeper().prover().bound(h.person("ann@acme.example"))
	status, answer := crm.token(exchanging(access, "resource", billingURI))
	wantError(t, "without a key", status, answer, 400, "invalid_request")
	p := crm.prover()
	if status, answer = p.token(exchanging(access, "resource", billingURI)); status != 200 {
		t.Fatalf("with its own key: got %d %v", status, answer)
	}
	p.want(answer)
}

// DP-02: a proof that was used before, or is none, does not use an assertion up.
func TestAnAssertionOutlivesABadProof(t *testing.T) {
	h := startServer(t)
	idp, p := h.trusts("acme", acmeIDP), h.managed().prover()
	raw, spent := idp.lets(p.app, nil), p.proof("/oauth2/token")
	if status, answer, _ := p.send("/oauth2/token", asserting(idp.lets(p.app, nil)), spent); status != 200 {
		t.Fatal(status, answer)
	}
	for what, proof := range map[string]string{"used before": spent, "for elsewhere": p.proof("/oauth2/par"),
		"nothing": "x"} {
		status, answer, _ := p.send("/oauth2/token", asserting(raw), proof)
		wantError(t, "a proof that is "+what, status, answer, 400, "invalid_dpop_proof")
	}
	status, answer := p.token(asserting(raw))
	if status != 200 {
		t.Fatalf("then a good one: got %d %v", status, answer)
	}
	p.want(answer)
}

// DP-01, RFC 9449 §7: userinfo takes a bound token with its proof alone.
func TestUserInfoWithAKey(t *testing.T) {
	h := startServer(t)
	a := h.relyingParty()
	ann := h.person("ann@acme.example")
	p := a.prover()
	status, answer := p.token(redemption(ann.approve(a.identification("email")).Get("code")))
	if status != 200 || answer["token_type"] != "DPoP" {
		t.Fatalf("got %d %v", status, answer)
	}
	bound := answer["access_token"].(string)
	_, plain := a.token(redemption(ann.approve(a.identification()).Get("code")))
	ask := func(scheme, access string, proofs ...string) (int, string, http.Header) {
		r := h.do("GET", "/oauth2/userinfo", "", "", http.Header{"Authorization": {scheme + " " + access},
			dpop.Header: proofs})
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		must(t, err)
		return r.StatusCode, string(body), r.Header
	}
	good := func(access string) string {
		return p.key.Proof("GET", h.URL+"/oauth2/userinfo", dpoptest.Claim("nonce", p.nonce),
			dpoptest.Claim("ath", dpop.Hash(access)))
	}
	used := good(bound)
	if status, body, _ := ask("DPoP", bound, used); status != 200 || !strings.Contains(body, "ann@acme.example") {
		t.Fatalf("with its proof: got %d %s", status, body)
	}
	for what, row := range map[string]struct {
		scheme, access string
		proofs         []string
	}{
		"as Bearer": {"Bearer", bound, nil}, "as Bearer with its proof": {"Bearer", bound, []string{good(bound)}},
		"without a proof": {"DPoP", bound, nil}, "a proof again": {"DPoP", bound, []string{used}},
		"a proof for another token": {"DPoP", bound, []string{good("x")}},
		"another key": {"DPoP", bound,
			[]string{p.other().key.Proof("GET", h.URL+"/oauth2/userinfo", dpoptest.Claim("nonce", p.nonce),
				dpoptest.Claim("ath", dpop.Hash(bound)))}},
		"an unbound token": {"DPoP", plain["access_token"].(string),
			[]string{good(plain["access_token"].(string))}},
	} {
		status, body, header := ask(row.scheme, row.access, row.proofs...)
		if status != 401 || !strings.HasPrefix(header.Get("WWW-Authenticate"), row.scheme+" error=") {
			t.Errorf("%s: got %d %q %s, want 401", what, status, header.Get("WWW-Authenticate"), body)
		}
	}
}
