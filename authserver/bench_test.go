package authserver_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// BenchmarkIssue measures client_credentials over real HTTP beside its floor: a bare net/http
// handler that only signs, with a key of the same kind. Both are asked in turn in the same loop, so
// that whatever else the machine does meets both. of-floor is the ratio of their speeds: 1 is as
// fast.
func BenchmarkIssue(b *testing.B) {
	for _, algorithm := range []string{"RS256", "ES256"} {
		b.Run(algorithm, func(b *testing.B) {
			h := startServer(b, func(c *authserver.Config) { c.Resources[0].Algorithm = algorithm })
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

// BenchmarkIssueAmongMany measures client_credentials of 100,000 clients of 1,000 tenants in turn,
// each of which has come once before, beside the same of one client alone, in a house of its own.
// of-floor is the ratio of their speeds.
func BenchmarkIssueAmongMany(b *testing.B) {
	const tenants, each = 1000, 100
	one, many := startServer(b), startServer(b)
	secret := client.NewSecret()
	var all []app
	must(b, many.Store.Atomically(b.Context(), func(tx *sqlstore.DB) error {
		for i := range tenants {
			t := tenant.Tenant{ID: fmt.Sprintf("t%d", i), Name: "T",
				Policy: tenant.Policy{Scopes: allScopes, Registrations: []string{client.KindOperator},
					MaxAccessTokenLifetime: 5 * time.Minute}, CreatedAt: many.Clock.Now()}
			must(b, tx.CreateTenant(b.Context(), t))
			for range each {
				c := client.Client{
					ID: client.NewID(), Name: "machine", TenantID: t.ID, GrantTypes: []string{client.GrantCredentials},
					AuthMethod: client.AuthBasic,
					SecretHash: client.HashSecret(secret), Scopes: []string{"customers:read"},
					Origin: client.OriginOperator, CreatedAt: t.CreatedAt,
				}
				must(b, tx.CreateClient(b.Context(), c))
				_, err := tx.PutMachineGrant(b.Context(), grant.Grant{
					ID: "grt_" + c.ID, TenantID: t.ID, ClientID: c.ID, Resource: resourceURI, Scopes: c.Scopes,
					CreatedAt: t.CreatedAt,
				}, audit.Event{Time: t.CreatedAt, Action: "grant.create"})
				must(b, err)
				all = append(all, app{many, c.ID, secret})
			}
		}
		return nil
	}))
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}.Encode()
	mathrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var coming sync.WaitGroup
	queue := make(chan app)
	for range 8 {
		coming.Go(func() {
			header := http.Header{}
			ask := asker(b, many.URL+"/oauth2/token", form, header)
			for a := range queue {
				header["Authorization"] = basicAuth(a.ID, secret)["Authorization"]
				ask()
			}
		})
	}
	for _, a := range all {
		queue <- a
	}
	close(queue)
	coming.Wait()
	header, next := http.Header{}, 0
	ask := asker(b, many.URL+"/oauth2/token", form, header)
	m := one.machine("acme", "customers:read")
	alternate(b, func() {
		header["Authorization"] = basicAuth(all[next%len(all)].ID, secret)["Authorization"]
		next++
		ask()
	}, asker(b, one.URL+"/oauth2/token", form, basicAuth(m.ID, m.Secret)))
}

// BenchmarkRefresh is a whole refresh over HTTP, on either store: what of it the audit line is,
// BenchmarkAuditRefresh says in microseconds.
func BenchmarkRefresh(b *testing.B) {
	for name, database := range map[string]func(*authserver.Config){
		"sqlite":   func(*authserver.Config) {},
		"postgres": func(c *authserver.Config) { c.Database = testenv.Postgres(b) },
	} {
		b.Run(name, func(b *testing.B) {
			h := startServer(b, database)
			a := h.register(map[string]any{})
			_, leaf := a.tokens(h.person("ann@acme.example"), "customers:read")
			for b.Loop() {
				status, answer := a.token(refreshment(leaf))
				if leaf, _ = answer["refresh_token"].(string); status != http.StatusOK || leaf == "" {
					b.Fatalf("got %d %v", status, answer)
				}
			}
		})
	}
}

// BenchmarkRefreshUnderLoad refreshes over HTTP while ten times as many requests come as may be
// worked on at once: registrations and machine tokens, without a rest, on the same machine. It
// reports how long a refresh takes, in milliseconds, and how many of the other requests were told
// to come later.
func BenchmarkRefreshUnderLoad(b *testing.B) {
	const places = 64
	h := startServer(b, func(c *authserver.Config) { c.RegistrationsPerHour, c.MaxInFlight = 1_000_000, places })
	a, m := h.register(map[string]any{}), h.machine("acme", "customers:read")
	_, leaf := a.tokens(h.person("ann@acme.example"), "customers:read")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 10 * places}}
	defer client.CloseIdleConnections()
	ctx, stop := context.WithCancel(b.Context())
	var senders sync.WaitGroup
	var refused, served atomic.Int64
	for i := range 10 * places {
		path, kind, body, header := "/oauth2/token", "application/x-www-form-urlencoded",
			"grant_type=client_credentials", basicAuth(m.ID, m.Secret)
		if i%2 == 0 {
			path, kind, body, header = "/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`,
				http.Header{}
		}
		senders.Go(func() {
			for ctx.Err() == nil {
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL+path, strings.NewReader(body))
				must(b, err)
				r.Header = header.Clone()
				r.Header.Set("Content-Type", kind)
				response, err := client.Do(r)
				if err != nil {
					continue
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode == http.StatusServiceUnavailable {
					refused.Add(1)
				} else {
					served.Add(1)
				}
			}
		})
	}
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		status, answer := a.token(refreshment(leaf))
		took = append(took, time.Since(start))
		if leaf, _ = answer["refresh_token"].(string); status != http.StatusOK || leaf == "" {
			b.Fatalf("got %d %v", status, answer)
		}
	}
	stop()
	senders.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(refused.Load())/float64(refused.Load()+served.Load()), "refused-share")
}

// BenchmarkLists lists the newest hundred of 100,000 clients and grants, the first page and one in
// the middle.
func BenchmarkLists(b *testing.B) {
	const many, page = 100_000, 100
	h := startServer(b)
	id := func(kind string, i int) string { return fmt.Sprintf("%s_%06d", kind, i) }
	must(b, h.Store.Atomically(b.Context(), func(tx *sqlstore.DB) error {
		for i := range many {
			at := h.Clock.Now().Add(-time.Duration(i) * time.Second)
			c := client.Client{
				ID: id("cli", i), Name: "machine", TenantID: "acme", GrantTypes: []string{client.GrantCredentials},
				AuthMethod: client.AuthBasic,
				SecretHash: "h", Scopes: []string{"customers:read"}, Origin: client.OriginOperator, CreatedAt: at,
			}
			must(b, tx.CreateClient(b.Context(), c))
			g := grant.Grant{ID: id("grt", i), TenantID: "acme", ClientID: c.ID, Resource: resourceURI,
				Scopes: c.Scopes, CreatedAt: at}
			_, err := tx.PutMachineGrant(b.Context(), g, audit.Event{Time: at, Action: "grant.create"})
			must(b, err)
		}
		return nil
	}))
	for _, tenantID := range []string{"", "acme"} {
		for where, at := range map[string]int{"first": -1, "middle": many / 2} {
			b.Run("clients/"+tenantID+"/"+where, func(b *testing.B) {
				f := client.Filter{TenantID: tenantID, Limit: page}
				if at >= 0 {
					f.After = id("cli", at)
				}
				for b.Loop() {
					if found, err := h.Store.Clients(b.Context(), f); err != nil || len(found) != page {
						b.Fatal(len(found), err)
					}
				}
			})
			b.Run("grants/"+tenantID+"/"+where, func(b *testing.B) {
				f := grant.Filter{TenantID: tenantID, Limit: page}
				if at >= 0 {
					f.After = id("grt", at)
				}
				for b.Loop() {
					if found, err := h.Store.Grants(b.Context(), f); err != nil || len(found) != page {
						b.Fatal(len(found), err)
					}
				}
			})
		}
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
		io.WriteString(w, `{"access_token":"`+payload+"."+base64.RawURLEncoding.EncodeToString(signature)+
			`","token_type":"Bearer","expires_in":600}`)
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

// BenchmarkDocuments measures metadata and the key set, which are served from memory, beside a bare
// handler that writes as many bytes.
func BenchmarkDocuments(b *testing.B) {
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/oauth2/jwks"} {
		b.Run(path[strings.LastIndex(path, "/")+1:], func(b *testing.B) {
			h := startServer(b)
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
