package cimd_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
)

// network is the world outside: one https server, whose name leads to the addresses that the test
// says.
type network struct {
	t         *testing.T
	server    *httptest.Server
	hits      atomic.Int64
	mu        sync.Mutex
	addresses []string
	dialled   []string
}

const address = "https://example.com/client.json"

func newNetwork(t *testing.T, answer http.HandlerFunc) (*network, *cimd.Fetcher) {
	t.Helper()
	n := &network{t: t, addresses: []string{"93.184.216.34"}}
	n.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.hits.Add(1)
		answer(w, r)
	}))
	n.server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are refused on purpose
	n.server.StartTLS()
	t.Cleanup(n.server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(n.server.Certificate())
	return n, &cimd.Fetcher{Resolve: n.resolve, Dial: n.dial, Roots: roots}
}

func (n *network) resolve(context.Context, string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []netip.Addr
	for _, a := range n.addresses {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func (n *network) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	n.dialled = append(n.dialled, to.String())
	n.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", n.server.Listener.Addr().String())
}

func document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte(`{"client_id":"` + address + `"}`))
}

func TestADocumentIsFetched(t *testing.T) {
	n, f := newNetwork(t, document)
	body, lifetime, err := f.Fetch(context.Background(), address)
	if err != nil || !strings.Contains(string(body), address) || lifetime != 5*time.Minute {
		t.Fatalf("got %s %s %v", body, lifetime, err)
	}
	if len(n.dialled) != 1 || n.dialled[0] != "93.184.216.34:443" { // CM-04: the address that was vetted
		t.Errorf("met %v", n.dialled)
	}
}

// CM-01, CM-03, AS-40: no connection is made to an address that is not public, nor when one of
// several is not.
func TestOnlyPublicAddresses(t *testing.T) {
	for _, bad := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3",
		"224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1",
		"203.0.113.9", "240.0.0.1", "::1", "::", "fc00::1", "fd12::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1",
		"::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "2001:db8::1",
		"2001::1", "fec0::1",
	} {
		for _, addresses := range [][]string{{bad}, {"93.184.216.34", bad}, {bad, "93.184.216.34"}} {
			n, f := newNetwork(t, document)
			n.addresses = addresses
			if _, _, err := f.Fetch(context.Background(), address); err == nil || len(n.dialled) != 0 ||
				n.hits.Load() != 0 {
				t.Errorf("%v: got %v and met %v, want no connection", addresses, err, n.dialled)
			}
		}
	}
	for _, good := range []string{"93.184.216.34", "8.8.8.8", "2606:2800:220:1::1"} {
		n, f := newNetwork(t, document)
		n.addresses = []string{good}
		if _, _, err := f.Fetch(context.Background(), address); err != nil {
			t.Errorf("%s: got %v, want nil", good, err)
		}
	}
	n, f := newNetwork(t, document)
	n.addresses, f.Exceptions = []string{"127.0.0.1"}, []string{"example.com"}
	if _, _, err := f.Fetch(context.Background(), address); err != nil {
		t.Errorf("an exception of the operator's: got %v, want nil", err)
	}
	f.Exceptions = []string{"com", "xample.com", "example.com:444"}
	if _, _, err := f.Fetch(context.Background(), address); err == nil {
		t.Error("an exception for another host counts")
	}
}

// CM-05, CM-06, CM-08, CM-10, AS-40, AS-41
func TestWhatIsNoDocument(t *testing.T) {
	head := func(status int, kind string, more ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{kind}
			for i := 0; i+1 < len(more); i += 2 {
				w.Header().Set(more[i], more[i+1])
			}
			w.WriteHeader(status)
			if status == 200 {
				w.Write([]byte(`{}`))
			}
		}
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(bytes.Repeat([]byte(" "), 10<<20))
	z.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"301": head(301, "", "Location", "https://example.com/other"),
		"302": head(302, "", "Location", "https://127.0.0.1/"), "303": head(303, "", "Location", "/x"),
		"307": head(307, "", "Location", "/x"), "308": head(308, "", "Location", "/x"),
		"204": head(204, "application/json"), "206": head(206, "application/json"),
		"404": head(404, "application/json"),
		"500": head(500, "application/json"), "HTML": head(200, "text/html"), "no type": head(200, ""),
		"two types": head(200, "application/json, text/html"),
		"large": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(bytes.Repeat([]byte(" "), 6<<10))
		},
		"large in pieces": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for range 100 {
				w.Write(bytes.Repeat([]byte(" "), 100))
				w.(http.Flusher).Flush()
			}
		},
		"a bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped.Bytes())
		},
		"a byte order mark": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte("\xef\xbb\xbf{}"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, f := newNetwork(t, answer)
			if _, _, err := f.Fetch(context.Background(), address); err == nil || n.hits.Load() != 1 {
				t.Errorf("got %v after %d requests, want an error after one", err, n.hits.Load())
			}
		})
	}
	_, f := newNetwork(t, head(200, "application/cimd+json"))
	if _, _, err := f.Fetch(context.Background(), address); err != nil {
		t.Errorf("a type of JSON: got %v, want nil", err)
	}
}

// CM-13: a server without a certificate for the name is refused.
func TestCertificates(t *testing.T) {
	n, f := newNetwork(t, document)
	f.Roots = x509.NewCertPool()
	if _, _, err := f.Fetch(context.Background(), address); err == nil || n.hits.Load() != 0 {
		t.Errorf("signed by an unknown authority: got %v, %d requests", err, n.hits.Load())
	}
	n, f = newNetwork(t, document)
	if _, _, err := f.Fetch(context.Background(), "https://other.example/client.json"); err == nil ||
		n.hits.Load() != 0 {
		t.Errorf("for another name: got %v, %d requests", err, n.hits.Load())
	}
}

// CM-15
func TestLives(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 5 * time.Minute, "max-age=60": time.Minute, "public, max-age=60": time.Minute,
		"max-age=315360000": 24 * time.Hour, "no-store": 0, "no-cache, max-age=60": 0,
		"max-age=-1": 0, "max-age=x": 0, "private": 5 * time.Minute,
	} {
		_, f := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", header)
			document(w, r)
		})
		if _, lifetime, err := f.Fetch(context.Background(), address); err != nil || lifetime != want {
			t.Errorf("%q: got %s %v, want %s", header, lifetime, err, want)
		}
	}
}

// CM-07: a slow server is not waited for.
func TestASlowServer(t *testing.T) {
	hang := make(chan struct{})
	_, f := newNetwork(t, func(http.ResponseWriter, *http.Request) { <-hang })
	defer close(hang)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := f.Fetch(ctx, address); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}
