package guard_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkCheck is one check of one request: cold, when the signature is verified, beside the raw verification with the same key; and warm, when the
// token is remembered and its key, its expiry and its grant are looked up.
func BenchmarkCheck(b *testing.B) {
	for _, algorithm := range []string{"ES256", "RS256"} {
		cold := newGate(b, func(c *guard.Config) { c.CacheLife = -1 })
		raw := cold.good(tokentest.Algorithm(algorithm))
		b.Run("cold/"+algorithm, func(b *testing.B) { cold.bench(b, raw) })
		b.Run("cold/"+algorithm+"-floor", func(b *testing.B) {
			verify := rawVerification(b, cold.issuer.Public(algorithm), raw)
			for b.Loop() {
				if !verify() {
					b.Fatal("a good signature is refused")
				}
			}
		})
	}
	warm := newGate(b)
	b.Run("warm", func(b *testing.B) { warm.bench(b, warm.good()) })
	b.Run("warm/DPoP", func(b *testing.B) { warm.benchDPoP(b) })
}

// proofsAhead is how many proofs are made at once, while the clock of the benchmark stands.
const proofsAhead = 1000

// benchDPoP is a check with a new proof each time, whose signature must be verified each time: BenchmarkCheck's cold/ES256-floor is its floor.
func (g *gate) benchDPoP(b *testing.B) {
	passed, n := 0, 0
	handler := g.guard.Protect(func(http.ResponseWriter, *http.Request, mcp.Caller) { passed++ })
	k := dpoptest.NewKey(b, "ES256")
	raw := g.bound(k)
	r := httptest.NewRequest("POST", resource, nil)
	r.Header.Set("Authorization", "DPoP "+raw)
	w := discard{http.Header{}}
	var proofs []string
	b.ReportAllocs()
	for b.Loop() {
		if len(proofs) == 0 {
			b.StopTimer()
			for range proofsAhead {
				proofs = append(proofs, k.Proof("POST", resource, dpoptest.Token(raw)))
			}
			b.StartTimer()
		}
		r.Header["Dpop"], proofs = proofs[:1:1], proofs[1:]
		handler.ServeHTTP(w, r)
		n++
	}
	if passed != n {
		b.Fatalf("%d of %d requests came through", passed, n)
	}
}

func (g *gate) bench(b *testing.B, raw string) {
	passed := 0
	handler := g.guard.Protect(func(http.ResponseWriter, *http.Request, mcp.Caller) { passed++ })
	r := httptest.NewRequest("POST", resource, nil)
	r.Header.Set("Authorization", "Bearer "+raw)
	w := discard{http.Header{}}
	handler.ServeHTTP(w, r)
	b.ReportAllocs()
	n := 1
	for b.Loop() {
		handler.ServeHTTP(w, r)
		n++
	}
	if passed != n {
		b.Fatalf("%d of %d requests came through", passed, n)
	}
}

// rawVerification checks the signature and nothing else.
func rawVerification(b *testing.B, key crypto.PublicKey, raw string) func() bool {
	input, signature64, _ := strings.Cut(raw[strings.Index(raw, ".")+1:], ".")
	input = raw[:strings.Index(raw, ".")+1] + input
	signature, err := base64.RawURLEncoding.DecodeString(signature64)
	must(b, err)
	return func() bool {
		sum := sha256.Sum256([]byte(input))
		switch k := key.(type) {
		case *rsa.PublicKey:
			return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], signature) == nil
		case *ecdsa.PublicKey:
			return ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}
		return false
	}
}
