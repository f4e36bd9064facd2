package dpop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
)

const (
	place  = "https://as.example/oauth2/token"
	access = "an.access.token"
)

// bench is a checker with a clock that the test sets, and a client with a clock of its own.
type bench struct {
	*dpop.Checker
	key *dpoptest.Key
	now time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{key: dpoptest.NewKey(t, "ES256"), now: time.Unix(1_800_000_000, 0)}
	clock := func() time.Time { return b.now }
	b.key.Now = clock
	b.Checker = &dpop.Checker{Used: ttl.NewMemory(ttl.Options{Now: clock}), Now: clock}
	return b
}

// believe shows proofs with a POST to place that presents no token.
func (b *bench) believe(shown ...string) (dpop.Proof, error) {
	return b.Verify(dpop.Request{Shown: shown, Method: "POST", URL: place})
}

func (b *bench) refuse(t *testing.T, name string, want error, shown ...string) {
	t.Helper()
	p, err := b.believe(shown...)
	if !errors.Is(err, want) || p.JKT != "" {
		t.Errorf("%s: got %q %v, want %v", name, p.JKT, err, want)
	}
}

// RFC 9449 §4.3, for each algorithm; RFC 7638 for the thumbprint.
func TestGoodProofs(t *testing.T) {
	for _, algorithm := range dpop.Algorithms() {
		b := newBench(t)
		k := dpoptest.NewKey(t, algorithm)
		k.Now = b.Now
		p, err := b.believe(k.Proof("POST", place))
		if err != nil || p.JKT != k.JKT() || p.Nonce != "" {
			t.Errorf("%s: got %+v %v, want the thumbprint %s", algorithm, p, err, k.JKT())
		}
		if err := b.Consume(context.Background(), "grant", p); err != nil {
			t.Errorf("%s: spending: %v", algorithm, err)
		}
	}
	b := newBench(t)
	for name, o := range map[string]dpoptest.Option{
		"a claim of others": dpoptest.Claim("x", 1), "ath without a token": dpoptest.Token(access),
		"a nonce that nobody asked for": dpoptest.Claim("nonce", "x"),
		"five minutes old":              dpoptest.Claim("iat", b.now.Unix()-300),
		"a clock five minutes ahead": dpoptest.Claim("iat",
			b.now.Unix()+300), "a time with a fraction (RFC 7519 §2)": dpoptest.Claim("iat", float64(b.now.Unix())+0.5),
		"the longest jti": dpoptest.Claim("jti", strings.Repeat("j", 256)),
		// RFC 9449 §4.3 no. 9; RFC 3986 §6.2.2, §6.2.3
		"a query and a fragment":      dpoptest.Claim("htu", place+"?a=b#c"),
		"capitals in scheme and host": dpoptest.Claim("htu", "HTTPS://AS.example/oauth2/token"),
		"the scheme's port":           dpoptest.Claim("htu", "https://as.example:443/oauth2/token"),
	} {
		if _, err := b.believe(b.key.Proof("POST", place, o)); err != nil {
			t.Errorf("%s: got %v, want nil", name, err)
		}
	}
	p, err := b.Verify(dpop.Request{Shown: []string{b.key.Proof("GET", "https://mcp.example")}, Method: "GET",
		URL: "https://mcp.example/"})
	if err != nil || p.JKT == "" {
		t.Errorf("no path for the root: got %v, want nil", err)
	}
	// RFC 9449 §6.1: the example's key and its thumbprint.
	example := `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",` +
		`"y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}}`
	claims := `{"jti":"-BwC3ESc6acc2lTc","htm":"POST","htu":"https://server.example.com/token","iat":1562262616}`
	raw := encode(example) + "." + encode(claims) +
		".2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	b.now = time.Unix(1562262616, 0)
	p, err = b.Verify(dpop.Request{Shown: []string{raw}, Method: "POST", URL: "https://server.example.com/token"})
	if err != nil || p.JKT != "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" {
		t.Errorf("the standard's own proof: got %+v %v", p, err)
	}
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// DP-02: what a proof must not be, whatever it is shown with.
func TestProofsThatDoNotHold(t *testing.T) {
	b := newBench(t)
	good := b.key.Proof("POST", place)
	parts := strings.Split(good, ".")
	bend := func(o dpoptest.Option) string { return b.key.Proof("POST", place, o) }
	t.Setenv("GODEBUG", "rsa1024min=0") // only a test makes a key that is too short
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	other := dpoptest.NewKey(t, "ES256")
	secret, _ := json.Marshal(map[string]string{"kty": "oct", "k": encode("secret")})
	for name, raw := range map[string]string{
		"nothing": "", "rubbish": "x.y.z", "stripped": parts[0] + "." + parts[1] + ".",
		"two parts": parts[0] + "." + parts[1], "a megabyte": strings.Repeat("a", 1<<20),
		"a member twice": b.key.Sign([]byte(`{"typ":"dpop+jwt","typ":"dpop+jwt","alg":"ES256","jwk":`+
			public(b.key)+`}`), []byte(`{}`)),
		"a member twice in jwk": b.key.Sign([]byte(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+
			strings.Replace(public(b.key), "{", `{"kty":"EC",`, 1)+`}`), []byte(`{}`)),
		"a claim twice":          parts[0] + "." + encode(`{"jti":"a","jti":"b"}`) + "." + parts[2],
		"typ missing":            bend(dpoptest.Header("typ", nil)),
		"typ JWT":                bend(dpoptest.Header("typ", "JWT")),
		"typ of an access token": bend(dpoptest.Header("typ", "at+jwt")),
		"alg none":               bend(dpoptest.Header("alg", "none")),
		"alg HS256":              hs256(b.key, b.now),
		"alg HS256, oct":         bend(dpoptest.Header("jwk", json.RawMessage(secret))),
		"alg ES384": dpoptest.Of(t, "ES384", p384).Proof("POST", place,
			dpoptest.Claim("iat", b.now.Unix())),
		"RS256 for an EC key":   bend(dpoptest.Header("alg", "RS256")),
		"a P-384 key for ES256": bend(dpoptest.Header("jwk", dpoptest.Of(t, "ES384", p384).JWK())),
		"an RSA key too short": dpoptest.Of(t, "RS256", short).Proof("POST", place,
			dpoptest.Claim("iat", b.now.Unix())),
		"no jwk":               bend(dpoptest.Header("jwk", nil)),
		"a kid for the jwk":    b.key.Proof("POST", place, dpoptest.Header("jwk", nil), dpoptest.Header("kid", "1")),
		"a private key in jwk": bend(dpoptest.Header("jwk", b.key.PrivateJWK())),
		"another's jwk":        bend(dpoptest.Header("jwk", other.JWK())),
		"a jwk for encryption": bend(dpoptest.Header("jwk",
			json.RawMessage(strings.Replace(public(b.key), "{", `{"use":"enc",`, 1)))),
		"a jwk of another alg": bend(dpoptest.Header("jwk",
			json.RawMessage(strings.Replace(public(b.key), "{", `{"alg":"RS256",`, 1)))),
		"crit":   bend(dpoptest.Header("crit", []string{"exp"})),
		"b64":    bend(dpoptest.Header("b64", false)),
		"no jti": bend(dpoptest.Claim("jti", nil)), "an empty jti": bend(dpoptest.Claim("jti", "")),
		"a long jti":       bend(dpoptest.Claim("jti", strings.Repeat("j", 257))),
		"a number for jti": bend(dpoptest.Claim("jti", 7)),
		"no htm":           bend(dpoptest.Claim("htm", nil)), "another method": bend(dpoptest.Claim("htm", "GET")),
		"a method in small letters": bend(dpoptest.Claim("htm", "post")),
		"no htu":                    bend(dpoptest.Claim("htu", nil)), "an empty htu": bend(dpoptest.Claim("htu", "")),
		"another host":             bend(dpoptest.Claim("htu", "https://evil.example/oauth2/token")),
		"another scheme":           bend(dpoptest.Claim("htu", "http://as.example/oauth2/token")),
		"another port":             bend(dpoptest.Claim("htu", "https://as.example:80/oauth2/token")),
		"another path":             bend(dpoptest.Claim("htu", "https://as.example/oauth2/Token")),
		"a slash more":             bend(dpoptest.Claim("htu", place+"/")),
		"a path written otherwise": bend(dpoptest.Claim("htu", "https://as.example/oauth2%2Ftoken")),
		"a user in htu":            bend(dpoptest.Claim("htu", "https://u@as.example/oauth2/token")),
		"no scheme":                bend(dpoptest.Claim("htu", "//as.example/oauth2/token")),
		"no iat":                   bend(dpoptest.Claim("iat", nil)),
		"null for iat":             bend(dpoptest.Claim("iat", json.RawMessage("null"))),
		"a string for iat":         bend(dpoptest.Claim("iat", "now")),
		"old":                      bend(dpoptest.Claim("iat", b.now.Unix()-301)),
		"of the future":            bend(dpoptest.Claim("iat", b.now.Unix()+301)),
		"of a far future":          bend(dpoptest.Claim("iat", int64(1)<<62)),
		"before time":              bend(dpoptest.Claim("iat", int64(-1)<<62)),
	} {
		b.refuse(t, name, dpop.ErrProof, raw)
	}
	b.refuse(t, "two DPoP headers", dpop.ErrProof, good, b.key.Proof("POST", place))
	b.refuse(t, "the same header twice", dpop.ErrProof, good, good)
	b.refuse(t, "none", dpop.ErrProof)
	if _, err := b.believe(good); err != nil {
		t.Errorf("and then the good one: got %v", err)
	}
}

func public(k *dpoptest.Key) string {
	raw, err := json.Marshal(k.JWK())
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// hs256 is what somebody makes who takes the public key for a shared secret.
func hs256(k *dpoptest.Key, now time.Time) string {
	claims, _ := json.Marshal(map[string]any{"jti": "x", "htm": "POST", "htu": place, "iat": now.Unix()})
	input := encode(`{"typ":"dpop+jwt","alg":"HS256","jwk":`+public(k)+`}`) + "." + encode(string(claims))
	mac := hmac.New(sha256.New, []byte(public(k)))
	mac.Write([]byte(input))
	return input + "." + encode(string(mac.Sum(nil)))
}

// DP-02, RFC 9449 §4.3 no. 12: the token that is presented is the one that the proof was made for.
func TestATokensProof(t *testing.T) {
	b := newBench(t)
	show := func(options ...dpoptest.Option) error {
		_, err := b.Verify(dpop.Request{Shown: []string{b.key.Proof("POST", place, options...)}, Method: "POST",
			URL: place, AccessToken: access})
		return err
	}
	if err := show(dpoptest.Token(access)); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	for name, o := range map[string]dpoptest.Option{
		"no ath": dpoptest.Claim("ath", nil), "another token's": dpoptest.Token("another"),
		"the token itself": dpoptest.Claim("ath", access), "padded": dpoptest.Claim("ath", dpop.Hash(access)+"="),
	} {
		if err := show(o); !errors.Is(err, dpop.ErrProof) {
			t.Errorf("%s: got %v, want ErrProof", name, err)
		}
	}
}

// DP-02: of many who show the same proof at once one gets through, in this process and over Redis,
// and none later.
func TestAProofCountsOnce(t *testing.T) {
	b := newBench(t)
	once := func(t *testing.T, c *dpop.Checker) {
		p, err := b.believe(b.key.Proof("POST", place))
		if err != nil {
			t.Fatal(err)
		}
		var wins atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				switch err := c.Consume(context.Background(), "grant", p); {
				case err == nil:
					wins.Add(1)
				case !errors.Is(err, dpop.ErrProof):
					t.Errorf("got %v, want ErrProof", err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Errorf("%d got through, want 1", wins.Load())
		}
	}
	t.Run("memory", func(t *testing.T) { once(t, b.Checker) })
	t.Run("Redis", func(t *testing.T) {
		url, prefix := testenv.Redis(t)
		client, err := redisttl.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		once(t, &dpop.Checker{Used: redisttl.New(client, prefix, 0), Now: b.Now})
	})
}

// A proof is remembered for as long as it could be believed, and ids are each key's own and each
// URL's (RFC 9449 §11.1).
func TestWhatIsRememberedOfAProof(t *testing.T) {
	b := newBench(t)
	spend := func(key *dpoptest.Key, url string) error {
		raw := key.Proof("POST", url, dpoptest.Claim("jti", "the same"), dpoptest.Claim("iat", int64(1_800_000_000)))
		p, err := b.Verify(dpop.Request{Shown: []string{raw}, Method: "POST", URL: url})
		if err != nil {
			return err
		}
		return b.Consume(context.Background(), "grant", p)
	}
	other := dpoptest.NewKey(t, "EdDSA")
	if err := errors.Join(spend(b.key, place), spend(other, place), spend(b.key, place+"2")); err != nil {
		t.Errorf("another key's, another URL's: got %v, want nil", err)
	}
	for range 301 {
		if err := spend(b.key, place); !errors.Is(err, dpop.ErrProof) || !strings.Contains(err.Error(), "used before") {
			t.Errorf("%s later: got %v, want that it was used before", b.now.Sub(time.Unix(1_800_000_000, 0)), err)
		}
		b.now = b.now.Add(time.Second)
	}
	if err := spend(b.key, place); !errors.Is(err, dpop.ErrProof) || !strings.Contains(err.Error(), "iat") {
		t.Errorf("after its time: got %v, want that it is old", err)
	}
}

// A memory that cannot remember lets nobody through, and does not blame the proof.
func TestAMemoryThatIsFull(t *testing.T) {
	b := newBench(t)
	b.Used = ttl.NewMemory(ttl.Options{Now: b.Now, MaxEntries: 1})
	for i := range 2 {
		p, err := b.believe(b.key.Proof("POST", place))
		if err == nil {
			err = b.Consume(context.Background(), "grant", p)
		}
		if full := errors.Is(err, ttl.ErrFull); full != (i == 1) || errors.Is(err, dpop.ErrProof) {
			t.Errorf("proof %d: got %v", i+1, err)
		}
	}
}

// RFC 9449 §8, §9: nonces that are missing, stale and foreign; those of the step before and of a
// replica whose clock is ahead.
func TestNonces(t *testing.T) {
	b := newBench(t)
	b.now = b.now.Truncate(dpop.Step)
	b.Nonces, b.NonceRequired = &dpop.Nonces{Key: []byte("one key")}, true
	foreign := &dpop.Checker{Nonces: &dpop.Nonces{Key: []byte("another key")}, Now: b.Now}
	first := b.Nonce()
	show := func(nonce string) (dpop.Proof, error) {
		return b.believe(b.key.Proof("POST", place, dpoptest.Claim("nonce", nonce)))
	}
	for name, nonce := range map[string]string{"none": "", "rubbish": "x", "another server's": foreign.Nonce(),
		"a longer one": first + "A"} {
		if _, err := show(nonce); !errors.Is(err, dpop.ErrNonce) || errors.Is(err, dpop.ErrProof) {
			t.Errorf("%s: got %v, want ErrNonce", name, err)
		}
	}
	b.refuse(t, "no nonce claim", dpop.ErrNonce, b.key.Proof("POST", place))
	if p, err := show(first); err != nil || p.Nonce != "" {
		t.Errorf("the newest: got %+v %v, want it taken and no other given", p, err)
	}
	b.now = b.now.Add(dpop.Step)
	second := b.Nonce()
	if p, err := show(first); err != nil || p.Nonce != second || second == first {
		t.Errorf("of the step before: got %+v %v, want it taken and %s given", p, err, second)
	}
	b.now = b.now.Add(dpop.Step)
	if _, err := show(first); !errors.Is(err, dpop.ErrNonce) {
		t.Errorf("stale: got %v, want ErrNonce", err)
	}
	third := b.Nonce()
	b.now = b.now.Add(-10 * time.Second) // this replica is behind the one that gave it
	if _, err := show(third); err != nil {
		t.Errorf("of a replica that is ahead: got %v, want it taken", err)
	}
	if strings.ContainsAny(first, "\"\\ ") || len(first) < 20 {
		t.Errorf("%q is no nonce (RFC 9449 §8.1)", first)
	}
}

// FuzzBelieve: what the key did not sign for this request is not believed, and nothing brings the
// checker down.
func FuzzBelieve(f *testing.F) {
	b := newBench(f)
	good, jkt := b.key.Proof("POST", place), b.key.JKT()
	f.Add(good)
	f.Add("YQ.YQ.YQ")
	f.Add(b.key.Proof("GET", place))
	f.Add(dpoptest.NewKey(f, "EdDSA").Proof("POST", place))
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := b.believe(raw)
		if err != nil && !errors.Is(err, dpop.ErrProof) {
			t.Errorf("got %v, want ErrProof", err)
		}
		if err == nil && p.JKT == jkt && raw != good {
			t.Errorf("believed: %q", raw)
		}
	})
}

// BenchmarkBelieve is a proof's whole check, beside its signature alone.
func BenchmarkBelieve(b *testing.B) {
	w := newBench(b)
	raw := w.key.Proof("POST", place)
	b.Run("ES256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.believe(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	key, sum := w.key.JWK().Key.(*ecdsa.PublicKey), sha256.Sum256([]byte("x"))
	signer, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	signature, _ := ecdsa.SignASN1(rand.Reader, signer, sum[:])
	b.Run("ES256-floor", func(b *testing.B) {
		for b.Loop() {
			ecdsa.VerifyASN1(key, sum[:], signature)
		}
	})
}

// A nonce that is offered and not demanded: a proof may do without one, and gets the newest; one
// that it has must be good.
func TestNoncesThatAreOptional(t *testing.T) {
	b := newBench(t)
	b.Nonces = &dpop.Nonces{Key: []byte("one key")}
	if p, err := b.believe(b.key.Proof("POST", place)); err != nil || p.Nonce != b.Nonce() || p.Nonce == "" {
		t.Errorf("without one: got %+v %v, want it taken and the newest given", p, err)
	}
	if p, err := b.believe(b.key.Proof("POST", place, dpoptest.Claim("nonce", b.Nonce()))); err != nil ||
		p.Nonce != "" {
		t.Errorf("with the newest: got %+v %v, want it taken", p, err)
	}
	b.refuse(t, "with another's", dpop.ErrNonce, b.key.Proof("POST", place, dpoptest.Claim("nonce", "x")))
}

// A window that is stricter, and what a memory that begins with the process cannot know.
func TestTheWindowIsASetting(t *testing.T) {
	b := newBench(t)
	b.Window = 10 * time.Second
	at := func(off int64) string { return b.key.Proof("POST", place, dpoptest.Claim("iat", b.now.Unix()+off)) }
	for _, off := range []int64{-10, 0, 10} {
		if _, err := b.believe(at(off)); err != nil {
			t.Errorf("%d s: got %v, want it taken", off, err)
		}
	}
	b.refuse(t, "too old", dpop.ErrProof, at(-11))
	b.refuse(t, "too far ahead", dpop.ErrProof, at(11))
	for window, good := range map[time.Duration]bool{0: true, time.Second: true, dpop.Window: true,
		time.Millisecond: false, -time.Second: false, dpop.Window + 1: false} {
		if err := dpop.CheckWindow(window); (err == nil) != good {
			t.Errorf("%s: got %v, want good %v", window, err, good)
		}
	}
	b.Window, b.Since = 0, b.now
	b.refuse(t, "made before the memory began", dpop.ErrProof, at(-1))
	if _, err := b.believe(at(0)); err != nil {
		t.Errorf("made since: got %v, want it taken", err)
	}
	b.Nonces = &dpop.Nonces{Key: []byte("of this process")}
	if _, err := b.believe(b.key.Proof("POST", place, dpoptest.Claim("iat", b.now.Unix()-1),
		dpoptest.Claim("nonce", b.Nonce()))); err != nil {
		t.Errorf("made before, by its clock, with a nonce of this process: got %v, want it taken", err)
	}
}

// A grant that fills the memory of proofs loses its own first: another's is taken, and nothing that
// was dropped counts again.
func TestAGrantThatFillsTheMemoryOfProofs(t *testing.T) {
	b := newBench(t)
	b.Used = ttl.NewMemory(ttl.Options{Now: b.Now, MaxEntries: 10})
	spend := func(owner string, raw string) error {
		p, err := b.believe(raw)
		if err != nil {
			return err
		}
		return b.Consume(context.Background(), owner, p)
	}
	var used []string
	for i := range 30 {
		raw := b.key.Proof("POST", place)
		used = append(used, raw)
		if err := spend("greedy", raw); err != nil {
			t.Fatalf("proof %d: got %v, want it taken", i, err)
		}
		b.now = b.now.Add(time.Second)
		if i%10 == 0 {
			if err := spend("modest", b.key.Proof("POST", place)); err != nil {
				t.Fatalf("another grant's proof: got %v, want it taken", err)
			}
		}
	}
	for i, raw := range used {
		if err := spend("greedy", raw); err == nil {
			t.Errorf("proof %d counted twice", i)
		}
	}
}
