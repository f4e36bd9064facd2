package token_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/token"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

const resource = "https://mcp.example/mcp"

// believer verifies tokens of a toy issuer.
type believer struct {
	issuer *tokentest.Issuer
	rules  token.Rules
	keys   token.KeySet
}

func newBeliever(t testing.TB) *believer {
	t.Helper()
	i := tokentest.NewIssuer(t)
	document, err := json.Marshal(i.KeySet())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.ParseKeySet(document)
	if err != nil {
		t.Fatal(err)
	}
	return &believer{i, token.Rules{
		Issuer: i.URL(), Audience: resource, Algorithms: []string{"ES256", "RS256", "EdDSA"}, Leeway: 30 * time.Second,
		Now: time.Now,
	}, keys}
}

func (b *believer) verify(raw string) error {
	_, err := b.rules.Verify(context.Background(), raw, b.keys)
	return err
}

func (b *believer) refuse(t *testing.T, name, raw string, want error) {
	t.Helper()
	if err := b.verify(raw); !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", name, err, want)
	}
}

// with bends one claim; nil removes it.
func (b *believer) with(name string, value any) []byte {
	members := map[string]any{}
	raw, err := json.Marshal(b.issuer.Claims(resource, "read", "write"))
	if err == nil {
		err = json.Unmarshal(raw, &members)
	}
	members[name] = value
	if value == nil {
		delete(members, name)
	}
	if err == nil {
		raw, err = json.Marshal(members)
	}
	if err != nil {
		panic(err)
	}
	return raw
}

func TestGoodTokens(t *testing.T) {
	b := newBeliever(t)
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		want := b.issuer.Claims(resource, "read", "write")
		got, err := b.rules.VerifyKeyed(context.Background(),
			b.issuer.Sign(want, tokentest.Algorithm(algorithm)), b.keys)
		if err != nil || got.ID != want.ID || got.TenantID != "acme" || got.KeyID != b.issuer.KeyID(algorithm) {
			t.Errorf("%s: got %+v %v", algorithm, got, err)
		}
	}
	for name, raw := range map[string]string{
		"the long type": b.issuer.Sign(b.issuer.Claims(resource, "read"),
			tokentest.Header("typ", "application/at+JWT")),
		"an audience of one":  b.issuer.Sign(b.with("aud", []string{resource})),
		"a claim of others":   b.issuer.Sign(b.with("email", "ann@acme.example")),
		"nbf in the past":     b.issuer.Sign(b.with("nbf", time.Now().Unix()-5)),
		"a clock a bit ahead": b.issuer.Sign(b.with("iat", time.Now().Unix()+20)),
	} {
		if err := b.verify(raw); err != nil {
			t.Errorf("%s: got %v, want nil", name, err)
		}
	}
}

// RFC 8693 §4.1: who acts is read strictly, or the token is not believed.
func TestActors(t *testing.T) {
	b := newBeliever(t)
	chain := map[string]any{"sub": "a", "client_id": "c", "act": map[string]any{"sub": "b"}}
	got, err := b.rules.Verify(context.Background(), b.issuer.Sign(b.with("act", chain)), b.keys)
	if err != nil || got.Actor == nil || got.Actor.Subject != "a" || got.Actor.ClientID != "c" ||
		got.Actor.Actor == nil || got.Actor.Actor.Subject != "b" || got.Actor.Depth() != 2 {
		t.Errorf("got %+v %v, want the chain", got.Actor, err)
	}
	var endless any = map[string]any{"sub": "x"}
	for range 20 {
		endless = map[string]any{"sub": "x", "act": endless}
	}
	for name, act := range map[string]any{
		"a string": "a", "nobody": map[string]any{}, "a number": map[string]any{"sub": 1}, "an array": []string{"a"},
		"a bad client":     map[string]any{"sub": "a", "client_id": 1},
		"a bad one inside": map[string]any{"sub": "a", "act": "b"}, "too many": endless,
	} {
		b.refuse(t, name, b.issuer.Sign(b.with("act", act)), token.ErrClaims)
	}
}

// JW-01, JW-02, JW-14
func TestAlgorithms(t *testing.T) {
	b := newBeliever(t)
	claims := b.issuer.Claims(resource, "read")
	good := b.issuer.Sign(claims)
	parts := strings.Split(good, ".")
	for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
		header := tokentest.Encode([]byte(`{"typ":"at+jwt","alg":"` + none + `","kid":"` +
			b.issuer.KeyID("ES256") + `"}`))
		for _, signature := range []string{"", parts[2]} {
			if b.verify(header+"."+parts[1]+"."+signature) == nil {
				t.Errorf("alg %q, signature %q is believed", none, signature)
			}
		}
	}
	for _, algorithm := range []string{"RS256", "ES256"} { // JW-02
		der, err := x509.MarshalPKIXPublicKey(b.issuer.Public(algorithm))
		if err != nil {
			t.Fatal(err)
		}
		jwk, _ := json.Marshal(b.keys[b.issuer.KeyID(algorithm)])
		for _, secret := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), jwk} {
			input := tokentest.Encode([]byte(`{"typ":"at+jwt","alg":"HS256","kid":"`+b.issuer.KeyID(algorithm)+`"}`)) +
				"." + parts[1]
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(input))
			raw := input + "." + tokentest.Encode(mac.Sum(nil))
			b.refuse(t, "HS256 with our public key", raw, token.ErrSignature)
			loose := *b
			loose.rules.Algorithms = append(loose.rules.Algorithms, "HS256", "none") // even a careless configuration
			loose.refuse(t, "HS256 when configured", raw, token.ErrSignature)
		}
	}
	b.refuse(t, "RS256 with an EC kid", b.issuer.Sign(claims, tokentest.Algorithm("RS256"),
		tokentest.Header("kid", b.issuer.KeyID("ES256"))), token.ErrSignature)
	b.refuse(t, "PS256 for an RS256 key", b.issuer.Sign(claims, tokentest.Algorithm("RS256"),
		tokentest.Header("alg", "PS256")), token.ErrSignature)
	b.refuse(t, "r = s = 0", parts[0]+"."+parts[1]+"."+tokentest.Encode(make([]byte, 64)), token.ErrSignature)
	narrow := *b
	narrow.rules.Algorithms = []string{"RS256"}
	narrow.refuse(t, "an algorithm not for this resource", good, token.ErrSignature)
}

// JW-03: a token that brings its own key, or says where to find one.
func TestKeysThatTokensBring(t *testing.T) {
	b := newBeliever(t)
	var hits atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer canary.Close()
	mallory, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{
		"jwk": jose.JSONWebKey{Key: mallory.Public(), KeyID: b.issuer.KeyID("ES256"), Algorithm: "ES256"},
		"jku": canary.URL, "x5u": canary.URL, "x5c": []string{"MIIB"},
	} {
		raw := b.issuer.Sign(b.issuer.Claims(resource, "read"), tokentest.Signer(mallory),
			tokentest.Header(name, value))
		if b.verify(raw) == nil {
			t.Errorf("%s is believed", name)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("the canary was asked %d times", hits.Load())
	}
}

// JW-04, JW-07, JW-12
func TestHeaders(t *testing.T) {
	b := newBeliever(t)
	claims := b.issuer.Claims(resource, "read")
	for _, kid := range []any{"../../dev/null", "' UNION SELECT", strings.Repeat("k", 8000), []string{"x"}, 7, "", nil,
		"unknown"} {
		if b.verify(b.issuer.Sign(claims, tokentest.Header("kid", kid))) == nil {
			t.Errorf("kid %v is believed", kid)
		}
	}
	for _, typ := range []any{"JWT", "id+jwt", "dpop+jwt", "logout+jwt", "client-authentication+jwt", "at+jwt ",
		"", nil} {
		b.refuse(t, "typ", b.issuer.Sign(claims, tokentest.Header("typ", typ)), token.ErrType)
	}
	b.refuse(t, "crit", b.issuer.Sign(claims, tokentest.Header("crit", []string{"x"})), token.ErrMalformed)
	b.refuse(t, "b64", b.issuer.Sign(claims, tokentest.Header("b64", false)), token.ErrMalformed)
}

// JW-05, JW-06, JW-08, JW-09, JW-10, JW-16
func TestClaims(t *testing.T) {
	b := newBeliever(t)
	now := time.Now().Unix()
	for _, row := range []struct {
		claim string
		value any
		want  error
	}{
		{"iss", b.issuer.URL() + "/", token.ErrIssuer}, {"iss", strings.ToUpper(b.issuer.URL()), token.ErrIssuer},
		{"iss", "https://evil.example", token.ErrIssuer},
		{"iss", nil, token.ErrClaims}, {"iss", []string{b.issuer.URL()}, token.ErrClaims},
		{"aud", nil, token.ErrAudience}, {"aud", "", token.ErrAudience}, {"aud", []string{}, token.ErrAudience},
		{"aud", "https://mcp.example", token.ErrAudience},
		{"aud", resource + "/", token.ErrAudience}, {"aud", resource + "/other", token.ErrAudience},
		{"aud", strings.ToUpper(resource), token.ErrAudience},
		{"aud", []string{resource, "https://other.example"}, token.ErrAudience},
		{"aud", []string{"https://other.example", resource}, token.ErrAudience},
		{"exp", now - 31, token.ErrExpired}, {"exp", nil, token.ErrClaims}, {"exp", "2099", token.ErrClaims},
		{"exp", -1, token.ErrExpired}, {"exp", 0, token.ErrExpired},
		{"exp", int64(253402300800), token.ErrExpired}, {"exp", json.RawMessage("1e400"), token.ErrClaims},
		{"exp", 1.5, token.ErrExpired}, {"exp", float64(now-31) + 0.5, token.ErrExpired},
		{"iat", float64(now+60) + 0.5, token.ErrNotYet},
		{"nbf", now + 60, token.ErrNotYet}, {"iat", now + 60, token.ErrNotYet}, {"iat", nil, token.ErrClaims},
		{"nbf", "soon", token.ErrClaims},
		{"sub", nil, token.ErrClaims}, {"sub", "", token.ErrClaims}, {"client_id", nil, token.ErrClaims},
		{"jti", nil, token.ErrClaims}, {"jti", "", token.ErrClaims},
		{"tenant_id", nil, token.ErrClaims}, {"tenant_id", "", token.ErrClaims},
		{"tenant_id", []string{"acme"}, token.ErrClaims}, {"grant_id", nil, token.ErrClaims},
		{"scope", nil, token.ErrClaims}, {"scopes", nil, token.ErrClaims}, {"scopes", "read write", token.ErrClaims},
		{"scope", []string{"read"}, token.ErrClaims},
		{"scopes", []string{"read write"}, token.ErrClaims}, {"scopes", []string{"read", "admin"}, token.ErrClaims},
		{"scope", "read admin", token.ErrClaims},
		{"scopes", []string{"read", "read"}, token.ErrClaims}, {"scopes", json.RawMessage("null"), token.ErrClaims},
	} {
		t.Run(row.claim, func(t *testing.T) {
			b.refuse(t, row.claim, b.issuer.Sign(b.with(row.claim, row.value)), row.want)
		})
	}
	// JW-13: exact names, each once
	good := string(b.with("x", 1))
	b.refuse(t, "a claim twice", b.issuer.Sign([]byte(strings.Replace(good, "{", `{"tenant_id":"globex",`, 1))),
		token.ErrMalformed)
	b.refuse(t, "a claim twice, once escaped",
		b.issuer.Sign([]byte(strings.Replace(good, "{", `{"tenant\u005fid":"globex",`, 1))), token.ErrMalformed)
	b.refuse(t, "AUD for aud", b.issuer.Sign([]byte(strings.Replace(good, `"aud"`, `"AUD"`, 1))), token.ErrAudience)
	b.refuse(t, "Scope for scope", b.issuer.Sign([]byte(strings.Replace(good, `"scope"`, `"Scope"`, 1))),
		token.ErrClaims)
	if err := b.verify(b.issuer.Sign([]byte(strings.Replace(good, "{", `{"Tenant_ID":"globex",`, 1)))); err != nil {
		t.Errorf("a claim of another case beside ours: got %v, want it ignored", err)
	}
	for _, name := range []string{`tenant_id\u0000`, `\u0001x`, `x\u007f`} {
		b.refuse(t, name, b.issuer.Sign([]byte(strings.Replace(good, "{", `{"`+name+`":"globex",`, 1))),
			token.ErrMalformed)
	}
	for _, text := range []string{`"\ud800"`, strings.Repeat("[", 70) + strings.Repeat("]", 70), `{"a":1,"a":1}`} {
		b.refuse(t, text, b.issuer.Sign([]byte(strings.Replace(good, "{", `{"x":`+text+`,`, 1))), token.ErrMalformed)
	}
}

// RFC 7519 §2: a time may have a fraction.
func TestTimesWithAFraction(t *testing.T) {
	b := newBeliever(t)
	now := float64(time.Now().Unix())
	for claim, value := range map[string]any{"exp": now + 600.5, "iat": now - 0.5, "nbf": now - 1.25} {
		if err := b.verify(b.issuer.Sign(b.with(claim, value))); err != nil {
			t.Errorf("%s %v: got %v, want it believed", claim, value, err)
		}
	}
}

// RFC 9449 §6.1, RFC 7800 §3.1: a token is bound to a key in the one way that we know, or it is not
// believed.
func TestConfirmations(t *testing.T) {
	b := newBeliever(t)
	const jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	want := b.issuer.Claims(resource, "read")
	want.Confirmation.JKT = jkt
	got, err := b.rules.Verify(context.Background(), b.issuer.Sign(want), b.keys)
	if err != nil || got.Confirmation.JKT != jkt {
		t.Errorf("a thumbprint: got %+v %v", got.Confirmation, err)
	}
	if raw, err := json.Marshal(b.issuer.Claims(resource, "read")); err != nil || strings.Contains(string(raw), "cnf") {
		t.Errorf("a token that is not bound says %s %v", raw, err)
	}
	for _, cnf := range []string{
		`null`, `""`, `"` + jkt + `"`, `[]`, `{}`, `{"jkt":""}`, `{"jkt":null}`, `{"jkt":7}`,
		`{"jkt":"` + jkt[1:] + `"}`, `{"jkt":"` + jkt + `="}`, `{"jkt":"` + jkt[:42] + `J"}`,
		`{"JKT":"` + jkt + `"}`, `{"x5t#S256":"` + jkt + `"}`, `{"jkt":"` + jkt + `","x5t#S256":"` + jkt + `"}`,
		`{"jwk":{"kty":"EC"}}`,
	} {
		b.refuse(t, "cnf "+cnf, b.issuer.Sign(b.with("cnf", json.RawMessage(cnf))), token.ErrClaims)
	}
	b.refuse(t, "a thumbprint twice",
		b.issuer.Sign(b.with("cnf", json.RawMessage(`{"jkt":"`+jkt+`","jkt":"`+jkt+`"}`))), token.ErrMalformed)
}

// JW-11, JW-15
func TestForms(t *testing.T) {
	b := newBeliever(t)
	good := b.issuer.Sign(b.issuer.Claims(resource, "read"))
	parts := strings.Split(good, ".")
	last := []byte(good) // the last character has two bits that say nothing
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last[len(last)-1] = alphabet[strings.IndexByte(alphabet, last[len(last)-1])+1]
	for name, raw := range map[string]string{
		"nothing": "", "stripped": parts[0] + "." + parts[1] + ".", "two parts": parts[0] + "." + parts[1],
		"a part more": good + ".YQ", "five parts": good + ".YQ.YQ",
		"a blank": parts[0] + ". " + parts[1] + "." + parts[2], "a line": parts[0] + ".\n" + parts[1] + "." + parts[2],
		"padded": good + "==", "another last character": string(last),
		"dots": strings.Repeat(".", 1<<20), "a megabyte": strings.Repeat("a", 1<<20),
		"a long header": strings.Repeat("YQ", 1<<15) + "." + parts[1] + "." + parts[2],
		"not JSON":      "YQ.YQ.YQ", "an array": tokentest.Encode([]byte("[]")) + "." + parts[1] + "." + parts[2],
	} {
		b.refuse(t, name, raw, token.ErrMalformed)
	}
	for i := range 64 { // a signature is over what it is over
		bent := []byte(parts[1])
		bent[i%len(bent)] = alphabet[(strings.IndexByte(alphabet, bent[i%len(bent)])+7)%64]
		if b.verify(parts[0]+"."+string(bent)+"."+parts[2]) == nil && !bytes.Equal(bent, []byte(parts[1])) {
			t.Errorf("changed at %d and believed", i)
		}
	}
}

// JK-05, MD-05
func TestKeySets(t *testing.T) {
	i := tokentest.NewIssuer(t)
	set := i.KeySet()
	one, err := json.Marshal(set.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	mallory, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	private, _ := json.Marshal(jose.JSONWebKey{Key: mallory, KeyID: "p", Algorithm: "ES256", Use: "sig"})
	without := strings.Replace(string(one), `"kid"`, `"kidd"`, 1)
	for name, document := range map[string]string{
		"HTML": "<html>", "nothing": "", "an object": "{}", "no keys": `{"keys":[]}`,
		"a kid twice":   `{"keys":[` + string(one) + "," + string(one) + `]}`,
		"a private key": `{"keys":[` + string(one) + "," + string(private) + `]}`,
		"a secret":      `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"s","alg":"HS256"}]}`,
		"no kid":        `{"keys":[` + without + `]}`, "only for encryption": `{"keys":[` + strings.Replace(string(one),
			`"sig"`, `"enc"`, 1) + `]}`,
		"too many": `{"keys":[` + strings.Repeat(string(one)+",", 200) + string(one) + `]}`,
	} {
		if _, err := token.ParseKeySet([]byte(document)); !errors.Is(err, token.ErrKeySet) {
			t.Errorf("%s: got %v, want ErrKeySet", name, err)
		}
	}
	got, err := token.ParseKeySet([]byte(`{"keys":[{"kty":"XX","kid":"new","alg":"new"},` + string(one) + `]}`))
	if err != nil || len(got) != 1 {
		t.Errorf("a key of a kind to come: got %d keys, %v; want the one we know", len(got), err)
	}
}

// FuzzVerify: nothing that was not signed is believed, and nothing brings the verifier down.
func FuzzVerify(f *testing.F) {
	b := newBeliever(f)
	good := b.issuer.Sign(b.issuer.Claims(resource, "read"))
	f.Add(good)
	f.Add("YQ.YQ.YQ")
	f.Fuzz(func(t *testing.T, raw string) {
		if b.verify(raw) == nil && raw != good {
			t.Errorf("believed: %q", raw)
		}
	})
}
