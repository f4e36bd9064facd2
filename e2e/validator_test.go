package e2e_test

import (
	"regexp"
	"testing"
)

// TestOtherPeoplesValidator shows a resource set to RS256 to a program that was not written for us:
// jsonwebtoken with jwks-rsa.
func TestOtherPeoplesValidator(t *testing.T) {
	w := openWorkshop(t, "validator")
	h := open(t, "--resource-algorithm", "RS256")
	a := &agent{house: h}
	code, out := h.operate("client", "create", "--tenant", "acme", "--scopes", "customers:read,tickets:write")
	if code != 0 {
		t.Fatal(out)
	}
	a.id, a.secret = regexp.MustCompile(`cli_\S+`).FindString(out), regexp.MustCompile(`ghs_\S+`).FindString(out)
	got, err := a.token(map[string][]string{"grant_type": {"client_credentials"}})
	if err != nil || !got.ok() {
		t.Fatalf("%v %v", got, err)
	}
	validate := func(token, issuer, audience string) (bool, string) {
		return w.run("validate.mjs", token, "JWKS_URI="+h.Issuer+"/oauth2/jwks", "ISSUER="+issuer, "AUDIENCE="+audience)
	}
	if ok, said := validate(a.access, h.Issuer, h.Resource); !ok ||
		said != `{"tenant_id":"acme","scopes":["customers:read","tickets:write"]}` {
		t.Errorf("our token: believed %v: %s", ok, said)
	}
	for name, row := range map[string][3]string{
		"another audience": {a.access, h.Issuer, h.Resource + "/other"},
		"another issuer":   {a.access, h.Issuer + "/", h.Resource},
		"another signer":   {stranger(t).Sign(stranger(t).Claims(h.Resource, "customers:read")), h.Issuer, h.Resource},
	} {
		if ok, said := validate(row[0], row[1], row[2]); ok {
			t.Errorf("%s: believed: %s", name, said)
		}
	}
}
