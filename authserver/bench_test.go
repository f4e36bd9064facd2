package authserver_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// BenchmarkIssue measures client_credentials over real HTTP beside its floor: a bare net/http handler that only signs, with a key of the same kind. Both
// are asked in turn in the same loop, so that whatever else the machine does meets both. of-floor is the ratio of their speeds: 1 is as fast.
func BenchmarkIssue(b *testing.B) {
	for _, algorithm := range []string{"RS256", "ES256"} {
		b.Run(algorithm, func(b *testing.B) {
			h := openHouse(b, func(c *authserver.Config) { c.Resources[0].Algorithm = algorithm })
			m := h.machine("acme", "customers:read")
			floor := httptest.NewServer(signer(b, algorithm))
			defer floor.Close()
			form := url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}.Encode()
			header := basicAuth(m.ID, m.Secret)
			ours := asker(b, h.URL+"/oauth2/token", form, header)
			bare := asker(b, floor.URL, form, header)
			alternate(b, ours, bare)
		})
	}
}

// signer is the floor: it signs a token's worth of bytes and answers.
func signer(b *testing.B, algorithm string) http.Handler {
	var sign func(digest []byte) ([]byte, error)
	switch algorithm {
	case "RS256":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		must(b, err)
		sign = func(digest []byte) ([]byte, error) { return rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest) }
	default:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(b, err)
		sign = func(digest []byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, key, digest) }
	}
	payload := strings.Repeat("a", 700)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		sum := sha256.Sum256([]byte(payload))
		signature, err := sign(sum[:])
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"`+payload+"."+base64.RawURLEncoding.EncodeToString(signature)+`","token_type":"Bearer","expires_in":600}`)
	})
}

// asker sends one request again and again over one connection.
func asker(b *testing.B, address, body string, header http.Header) func() {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}}
	b.Cleanup(client.CloseIdleConnections)
	return func() {
		r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(body))
		must(b, err)
		r.Header = header.Clone()
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := client.Do(r)
		must(b, err)
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			b.Fatalf("got %d, want 200", response.StatusCode)
		}
	}
}

// alternate runs both in turn and reports each one's time and the ratio of their speeds.
func alternate(b *testing.B, ours, floor func()) {
	for range 50 { // warm: connections, caches, plans
		ours()
		floor()
	}
	var spent [2]time.Duration
	n := 0
	for b.Loop() {
		n++
		for i, f := range []func(){ours, floor} {
			start := time.Now()
			f()
			spent[i] += time.Since(start)
		}
	}
	b.ReportMetric(float64(spent[0].Microseconds())/float64(n), "ours-µs")
	b.ReportMetric(float64(spent[1].Microseconds())/float64(n), "floor-µs")
	b.ReportMetric(float64(spent[1])/float64(spent[0]), "of-floor")
}

// BenchmarkDocuments measures metadata and the key set, which are served from memory, beside a bare handler that writes as many bytes.
func BenchmarkDocuments(b *testing.B) {
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/oauth2/jwks"} {
		b.Run(path[strings.LastIndex(path, "/")+1:], func(b *testing.B) {
			h := openHouse(b)
			_, body := h.get(path, nil)
			floor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Write(body)
			}))
			defer floor.Close()
			alternate(b, getter(b, h.URL+path), getter(b, floor.URL))
		})
	}
}

// getter asks one address again and again over one connection.
func getter(b *testing.B, address string) func() {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}}
	b.Cleanup(client.CloseIdleConnections)
	return func() {
		response, err := client.Get(address)
		must(b, err)
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}
