package cimd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The limits of a fetch (CIMD section 6.6).
const (
	maxDocument = 5 << 10  // bytes
	maxKeys     = 16 << 10 // of a client's key set, bytes
	fetchTime   = 3 * time.Second
	atOnce      = 8
)

// Fetcher fetches documents from URLs of strangers: over https, from public addresses alone,
// without redirects, small and quickly.
type Fetcher struct {
	// Exceptions are hosts, as a URL has them, whose documents may be at any address: for
	// development in a private network.
	Exceptions []string

	// Resolve and Dial are the network; tests replace them. Nil: the real one.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial    func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	Roots   *x509.CertPool // nil: those of the system

	turn chan struct{}
}

// NewFetcher returns a fetcher for the real network.
func NewFetcher(exceptions []string) *Fetcher {
	return &Fetcher{Exceptions: exceptions, turn: make(chan struct{}, atOnce)}
}

// errAddress says that a host has an address that is not public.
var errAddress = errors.New("the host is not at public addresses alone")

// FetchKeys fetches the key set at the jwks_uri of a client, with the same care. The URL is
// checked before.
func (f *Fetcher) FetchKeys(ctx context.Context, address string) ([]byte, error) {
	if f.turn != nil { // strangers can cause this at any endpoint: nothing waits for it
		select {
		case f.turn <- struct{}{}:
			defer func() { <-f.turn }()
		default:
			return nil, errBusy
		}
	}
	body, _, err := f.fetch(ctx, address, maxKeys)
	return body, err
}

// errBusy says that the maximum number of fetches is under way.
var errBusy = errors.New("as many documents are being fetched as may be at once")

// Fetch fetches a document and returns for how long it is valid. The URL is checked before.
func (f *Fetcher) Fetch(ctx context.Context, address string) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if f.turn != nil {
		select {
		case f.turn <- struct{}{}:
			defer func() { <-f.turn }()
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("wait to fetch a document: %w", ctx.Err())
		}
	}
	return f.fetch(ctx, address, maxDocument)
}

func (f *Fetcher) fetch(ctx context.Context, address string, most int64) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch a document: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	transport := &http.Transport{
		DialContext: f.dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.Roots},
		TLSHandshakeTimeout: fetchTime,
		DisableKeepAlives:   true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, ForceAttemptHTTP2: false,
	} // no Proxy: the connection must go to the checked address
	client := &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch a document: %w", err)
	}
	defer response.Body.Close()
	if err := acceptable(response); err != nil {
		return nil, 0, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err == nil {
		err = ctx.Err() // the timeout may look like the end of the body
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read a document: %w", err)
	}
	if int64(len(body)) > most {
		return nil, 0, fmt.Errorf("the document is larger than %d bytes", most)
	}
	if bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) {
		return nil, 0, errors.New("the document begins with a byte order mark")
	}
	return body, lifetime(response.Header), nil
}

// acceptable checks the head of the response: 200, JSON, not encoded.
func acceptable(r *http.Response) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.StatusCode != http.StatusOK:
		return fmt.Errorf("the document's server answers %d", r.StatusCode)
	case err != nil || kind != "application/json" &&
		!(strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")):
		return errors.New("the document is not application/json")
	case r.Header.Get("Content-Encoding") != "":
		return errors.New("the document is encoded")
	}
	return nil
}

// lifetime is for how long the document is valid (RFC 9111 section 5.2.2), within our limits.
func lifetime(h http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.ToLower(h.Get("Cache-Control")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64)
			if err != nil || seconds < 0 {
				return 0
			}
			return time.Duration(min(seconds, int64(maxLifetime/time.Second))) * time.Second
		}
	}
	return defaultLifetime
}

// dial resolves the host, checks all its addresses, and connects to one of them: a second look-up
// could return another.
func (f *Fetcher) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	addresses, err := f.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	excepted := slices.Contains(f.Exceptions, host) || slices.Contains(f.Exceptions, net.JoinHostPort(host, port))
	for i, a := range addresses {
		addresses[i] = a.Unmap()
		if !excepted && !public(addresses[i]) {
			return nil, errAddress
		}
	}
	connect := f.Dial
	if connect == nil {
		var d net.Dialer
		connect = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", to.String())
		}
	}
	errs := []error{errors.New("the host has no address")}
	for _, a := range addresses {
		conn, err := connect(ctx, netip.AddrPortFrom(a, uint16(number)))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (f *Fetcher) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if f.Resolve != nil {
		return f.Resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// special are the address blocks without hosts of the public network (RFC 6890 and its
// registries), beside those that package netip knows.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
)

// assigned6 is the assigned part of IPv6 (RFC 4291 section 2.4 and the registry of IANA).
var assigned6 = netip.MustParsePrefix("2000::/3")

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// public reports whether an address is one of the public network.
func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" || a.Is6() && !assigned6.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}
