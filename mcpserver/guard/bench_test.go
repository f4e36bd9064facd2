package guard_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

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

// BenchmarkCheck is one check of one request: cold, when the signature is verified, beside the raw
// verification with the same key; and warm, when the token is remembered and its key, its expiry
// and its grant are looked up.
func BenchmarkCheck(b *testing.B) {
	for _, algorithm := range []string{"ES256", "RS256"} {
		cold := newGate(b, func(c *guard.Config) { c.CacheSize = -1 })
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

// benchDPoP is a check with a new proof each time, whose signature must be verified each time:
// BenchmarkCheck's cold/ES256-floor is its floor.
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

// BenchmarkEnforce is guard and rules in front of a bare handler over HTTP, beside the handler
// alone in the same run: the share of its speed that is left, with one token and with ten thousand
// that are all remembered. of-one is the speed with many tokens beside that with one of them, in
// the same run.
func BenchmarkEnforce(b *testing.B) {
	const clients, volley = 16, 4000
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
	})
	for _, tokens := range []int{1, 10_000} {
		b.Run(fmt.Sprint(tokens), func(b *testing.B) {
			var enforced http.Handler
			guarded := httptest.NewServer(
				http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { enforced.ServeHTTP(w, r) }))
			defer guarded.Close()
			alone := httptest.NewServer(bare)
			defer alone.Close()
			g := newGate(b, func(c *guard.Config) {
				c.AllowedHosts = []string{guarded.Listener.Addr().String()}
			})
			tables, err := guard.Always(rules)
			must(b, err)
			enforced, err = g.guard.Enforce(bare, guard.Policy{Tables: tables})
			must(b, err)
			raws := make([]string, tokens)
			for i := range raws {
				c := g.issuer.Claims(resource, "read")
				c.GrantID = fmt.Sprint("grt_", i)
				raws[i] = g.issuer.Sign(c)
			}
			shoot(b, guarded.URL, raws, clients, tokens) // so that all are remembered
			var with, without, one time.Duration
			for b.Loop() { // one after the other, so that what else the machine does falls on all
				without += shoot(b, alone.URL, raws, clients, volley)
				with += shoot(b, guarded.URL, raws, clients, volley)
				if tokens > 1 {
					one += shoot(b, guarded.URL, raws[:1], clients, volley)
				}
			}
			b.ReportMetric(float64(without)/float64(with), "of-the-bare-handler")
			if tokens > 1 {
				b.ReportMetric(float64(one)/float64(with), "of-one")
			}
		})
	}
}

// shoot sends requests with the tokens in turn, and returns how long all took.
func shoot(b *testing.B, url string, raws []string, clients, requests int) time.Duration {
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	began := time.Now()
	var shooting sync.WaitGroup
	for c := range clients {
		shooting.Go(func() {
			for i := c; i < requests; i += clients {
				r, err := http.NewRequest("POST", url, strings.NewReader(call("read_it")))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header = http.Header{
					"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
					"Authorization": {"Bearer " + raws[i%len(raws)]},
				}
				response, err := transport.RoundTrip(r)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != http.StatusOK {
					b.Errorf("status %d", response.StatusCode)
					return
				}
			}
		})
	}
	shooting.Wait()
	return time.Since(began)
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
