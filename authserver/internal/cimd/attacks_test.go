package cimd_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
)

// CM-03: an address is an address in whatever way it is written: a resolver that understands the
// old spellings helps nobody.
func TestOddSpellingsOfAddresses(t *testing.T) {
	for spelling, means := range map[string]string{
		"127.0.0.1": "127.0.0.1", "2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1", "0177.0.0.1": "127.0.0.1",
		"127.1": "127.0.0.1", "0": "0.0.0.0", "0xa9fea9fe": "169.254.169.254",
		"[::1]": "::1", "[::ffff:7f00:1]": "::ffff:127.0.0.1", "[64:ff9b::7f00:1]": "64:ff9b::7f00:1",
		"[2002:7f00:1::]": "2002:7f00:1::", "localhost": "127.0.0.1", "localtest.example": "127.0.0.1",
	} {
		n, f := newNetwork(t, document)
		n.addresses = []string{means}
		if _, _, err := f.Fetch(context.Background(), "https://"+spelling+"/c.json"); err == nil ||
			len(n.dialled) != 0 || n.hits.Load() != 0 {
			t.Errorf("%s: got %v and met %v, want no connection", spelling, err, n.dialled)
		}
		n, f = newNetwork(t, document)
		n.addresses = []string{means}
		if _, err := f.FetchKeys(context.Background(), "https://"+spelling+"/jwks"); err == nil || len(n.dialled) != 0 {
			// CM-17
			t.Errorf("%s: keys were fetched from %v", spelling, n.dialled)
		}
	}
}

// CM-04: the name is looked up once, and who is met is one of those that were vetted: a second
// answer never comes to pass.
func TestTheNameIsLookedUpOnce(t *testing.T) {
	n, f := newNetwork(t, document)
	lookups := 0
	f.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		if lookups++; lookups == 1 {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	if _, _, err := f.Fetch(context.Background(), address); err != nil || lookups != 1 || len(n.dialled) != 1 ||
		n.dialled[0] != "93.184.216.34:443" {
		t.Errorf("the first time: %v after %d look-ups, met %v", err, lookups, n.dialled)
	}
	if _, _, err := f.Fetch(context.Background(), address); err == nil || len(n.dialled) != 1 {
		// the connection is not kept, the second answer is vetted
		t.Errorf("the second time: got %v, met %v", err, n.dialled)
	}
}

// CM-05, CM-06, CM-17: a key set is fetched as carefully as a document, and no more of it is read
// than may be.
func TestKeySetsThatAreNone(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"elsewhere": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://127.0.0.1/jwks")
			w.WriteHeader(302)
		},
		"ten megabytes": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(bytes.Repeat([]byte(" "), 10<<20))
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") },
	} {
		n, f := newNetwork(t, answer)
		if _, err := f.FetchKeys(context.Background(), address); err == nil || n.hits.Load() != 1 {
			t.Errorf("%s: got %v after %d requests, want an error after one", name, err, n.hits.Load())
		}
	}
}

// CM-07: a server that hangs at any step is given up within seconds.
func TestWhoeverHangsIsLeft(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for name, hang := range map[string]func(*cimd.Fetcher){
		"looking up": func(f *cimd.Fetcher) {
			f.Resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) {
				<-ctx.Done()
				return nil,
					ctx.Err()
			}
		},
		"connecting": func(f *cimd.Fetcher) {
			f.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				<-ctx.Done()
				return nil,
					ctx.Err()
			}
		},
		"shaking hands": func(f *cimd.Fetcher) {
			f.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", silent.Addr().String())
			}
		},
		"answering": func(*cimd.Fetcher) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, f := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				for { // a byte now and then
					if _, err := w.Write([]byte(" ")); err != nil {
						return
					}
					w.(http.Flusher).Flush()
					select {
					case <-release:
						return
					case <-r.Context().Done():
						return
					case <-time.After(100 * time.Millisecond):
					}
				}
			})
			hang(f)
			start := time.Now()
			if _, _, err := f.Fetch(context.Background(), address); err == nil || time.Since(start) > 15*time.Second {
				// three, on a machine that is not busy
				t.Errorf("got %v after %s, want an error within seconds", err, time.Since(start))
			}
		})
	}
}

// CM-13: a certificate that is over proves nothing.
func TestACertificateThatIsOver(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		ends time.Time
		good bool
	}{"over": {time.Now().Add(-time.Hour), false}, "good": {time.Now().Add(time.Hour), true}} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, NotBefore: time.Now().Add(-48 * time.Hour),
			NotAfter: row.ends,
			IsCA:     true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(document))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		s.StartTLS()
		_, f := newNetwork(t, document)
		f.Roots = x509.NewCertPool()
		f.Roots.AddCert(certificate)
		f.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", s.Listener.Addr().String())
		}
		_, _, err = f.Fetch(context.Background(), address)
		var invalid x509.CertificateInvalidError
		if (err == nil) != row.good || !row.good && !errors.As(err, &invalid) {
			t.Errorf("%s: got %v, want it accepted: %v", name, err, row.good)
		}
		s.Close()
	}
}
