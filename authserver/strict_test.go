package authserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// An ID-JAG's claims are what they are by their exact names; what could be read in two ways is
// refused.
func TestAnIdentityAssertionHasOneReading(t *testing.T) {
	h := startServer(t, withBilling)
	p, a := h.trusts("acme", acmeIDP), h.managed()
	n := 0
	ask := func(header, first, last string) (int, map[string]any) {
		t.Helper()
		n++
		now := h.Clock.Now().Unix()
		plain := fmt.Sprintf(
			`"iss":%q,"client_id":%q,"jti":"strict-%d","iat":%d,"resource":%q,"scope":"customers:read"`, p.issuer, a.ID,
			n, now, resourceURI)
		return a.token(asserting(h.assertText(p.key, header, "{"+first+plain+last+"}")))
	}
	const good = `{"alg":"ES256","typ":"oauth-id-jag+jwt","kid":"k1"}`
	aud, exp := fmt.Sprintf(`"aud":%q,`, h.URL), fmt.Sprintf(`"exp":%d,`, h.Clock.Now().Unix()+300)
	const ann = `"sub":"00u-ann","email":"ann@acme.example","email_verified":true,`
	for what, row := range map[string][2]string{
		"as it should be": {aud + exp + ann, ``}, "another's address in another case": {aud + exp + ann,
			`,"Email":"mallory@evil.example","EMAIL":"bob@globex.example"`},
		"another's subject with a long s":    {aud + exp + ann, ",\"\u017fub\":\"00u-bob\""},
		"a foreign audience in another case": {aud + exp + ann, `,"AUD":"https://other.example"`},
		"an end with a fraction": {aud + ann + fmt.Sprintf(`"exp":%d.5,`, h.Clock.Now().Unix()+300),
			``},
		"a time that is not yet, with a fraction": {aud + exp + ann,
			fmt.Sprintf(`,"nbf":%d.25`, h.Clock.Now().Unix()-1)},
	} {
		status, answer := ask(good, row[0], row[1])
		if status != 200 {
			t.Errorf("%s: got %d %v, want a token", what, status, answer)
			continue
		}
		if _, c := claims(t, answer["access_token"].(string)); c["sub"] != "usr_ann" {
			t.Errorf("%s: got a token for %v, want ann's", what, c["sub"])
		}
	}
	mallory := strings.NewReplacer("ann@acme", "mallory@evil", "00u-ann", "00u-mallory").Replace(ann)
	for what, row := range map[string][3]string{
		"ann's address in another case": {good, aud + exp + mallory, `,"Email":"ann@acme.example"`},
		"our audience in another case": {good, `"aud":"https://other.example",` + exp + ann,
			fmt.Sprintf(`,"AUD":%q`, h.URL)},
		"our audience in another case alone": {good, exp + ann, fmt.Sprintf(`,"Aud":%q`, h.URL)},
		"an end in another case":             {good, aud + ann + `"exp":1,`, `,"EXP":99999999999`},
		"an address twice":                   {good, aud + exp + ann, `,"email":"bob@globex.example"`},
		"an address twice, once escaped":     {good, aud + exp + ann, `,"\u0065mail":"x"`},
		"a name with a NUL":                  {good, aud + exp + ann, `,"email\u0000":"x"`},
		"half a pair":                        {good, aud + exp + ann, `,"x":"\ud800"`},
		"no UTF-8":                           {good, aud + exp + ann, ",\"x\":\"\xff\""},
		"a second value":                     {good, aud + exp + ann, `}{"a":1`},
		"too deep": {good, aud + exp + ann, `,"x":` + strings.Repeat("[", 65) +
			strings.Repeat("]", 65)},
		"a type in another case": {`{"alg":"ES256","typ":"JWT","TYP":"oauth-id-jag+jwt","kid":"k1"}`, aud + exp + ann,
			``}, "a type twice": {`{"alg":"ES256","typ":"JWT","typ":"oauth-id-jag+jwt","kid":"k1"}`,
			aud + exp + ann, ``},
		"an algorithm twice": {`{"alg":"none","alg":"ES256","typ":"oauth-id-jag+jwt","kid":"k1"}`,
			aud + exp + ann, ``},
		"an algorithm with a NUL": {`{"alg":"ES256","alg\u0000":"none","typ":"oauth-id-jag+jwt","kid":"k1"}`,
			aud + exp + ann, ``},
		"an end that is no number": {good, aud + ann + `"exp":"2099",`, ``},
		"an end beyond numbers":    {good, aud + ann + `"exp":1e400,`, ``},
	} {
		status, answer := ask(row[0], row[1], row[2])
		wantError(t, what, status, answer, 400, "invalid_grant")
	}
}

// A client assertion is read as strictly.
func TestAClientAssertionHasOneReading(t *testing.T) {
	h := startServer(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a := h.keyed("acme", key, "k1")
	now := h.Clock.Now().Unix()
	n := 0
	prove := func(header, more string) (int, map[string]any) {
		n++
		text := fmt.Sprintf(`{"iss":%q,"sub":%q,"jti":"j%d",%s}`, a.ID, a.ID, n, more)
		form := url.Values{"grant_type": {"client_credentials"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {h.assertText(key, header, text)}}
		return h.post("/oauth2/token", "application/x-www-form-urlencoded", form.Encode(), nil)
	}
	const good = `{"alg":"ES256","kid":"k1"}`
	aud := fmt.Sprintf(`"aud":%q,`, h.URL)
	for what, more := range map[string]string{
		"as it should be":        aud + fmt.Sprintf(`"exp":%d`, now+60),
		"times with a fraction":  aud + fmt.Sprintf(`"exp":%d.5,"iat":%d.999,"nbf":%d.001`, now+60, now, now-1),
		"an end in another case": aud + fmt.Sprintf(`"exp":%d,"EXP":1,"Aud":"x","\u017fub":"x"`, now+60),
	} {
		if status, answer := prove(good, more); status != 200 {
			t.Errorf("%s: got %d %v, want 200", what, status, answer)
		}
	}
	for what, row := range map[string][2]string{
		"over, and not in another case": {good, aud + fmt.Sprintf(`"exp":%d,"EXP":%d`, now-3600, now+60)},
		"for another, and for us in another case": {good, fmt.Sprintf(`"aud":"https://other.example","AUD":%q,"exp":%d`,
			h.URL, now+60)},
		"an end twice":      {good, aud + fmt.Sprintf(`"exp":%d,"exp":%d`, now-3600, now+60)},
		"an end with a NUL": {good, aud + fmt.Sprintf(`"exp":%d,"exp\u0000":1`, now+60)},
		"a fraction over":   {good, aud + fmt.Sprintf(`"exp":%d.5`, now-3600)},
		"a key id twice":    {`{"alg":"ES256","kid":"k2","kid":"k1"}`, aud + fmt.Sprintf(`"exp":%d`, now+60)},
		"half a pair":       {good, aud + fmt.Sprintf(`"exp":%d,"x":"\udc00"`, now+60)},
	} {
		status, answer := prove(row[0], row[1])
		wantError(t, what, status, answer, 401, "invalid_client")
	}
}

// A key set is read as strictly, wherever it comes from.
func TestAKeySetHasOneReading(t *testing.T) {
	h := startServer(t)
	const good = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
		`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"1"}`
	register := func(keys string) (int, map[string]any) {
		return h.post("/oauth2/register", "application/json",
			`{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"private_key_jwt","jwks":`+keys+`}`, nil)
	}
	for what, keys := range map[string]string{
		"keys in another case alone": `{"Keys":[` + good + `]}`, "keys with a Kelvin sign": "{\"\u212aeys\":[" + good +
			`]}`, "keys twice": `{"keys":[` + good + `],"keys":[]}`, "a key's member twice": `{"keys":[` +
			strings.Replace(good, `"kid"`, `"kid":"2","kid"`, 1) + `]}`,
		"a key's member with a NUL": `{"keys":[` + strings.Replace(good, `"kid"`, `"kid\u0000":"2","kid"`, 1) + `]}`,
		"half a pair in a key":      `{"keys":[` + strings.Replace(good, `"1"`, `"\ud800"`, 1) + `]}`,
	} {
		status, answer := register(keys)
		wantError(t, what, status, answer, 400, "invalid_client_metadata")
	}
	status, answer := register(`{"keys":[` + good + `],"Keys":[{"kty":"oct","k":"c2VjcmV0"}]}`)
	if text, _ := json.Marshal(answer["jwks"]); status != 201 || !strings.Contains(string(text), `"kty":"EC"`) {
		t.Errorf("keys of another name beside: got %d %v", status, answer)
	}
}
