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

// The bounds of a fetch (CIMD §6.6).
const (
	maxDocument = 5 << 10  // bytes
	maxKeys     = 16 << 10 // of a client's key set, bytes
	fetchTime   = 3 * time.Second
	atOnce      = 8
)

// Fetcher fetches documents from whoever a stranger names: over https, from public addresses alone,
// without redirects, little and quickly.
type Fetcher struct {
	// Exceptions are hosts, as a URL has them, whose documents may lie at any address: for
	// development on one's own network.
	Exceptions []string

	// Resolve and Dial are the network; tests put another in their place. Nil: the real one.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial    func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	Roots   *x509.CertPool // nil: the system's

	turn chan struct{}
}

// NewFetcher makes a fetcher on the real network.
func NewFetcher(exceptions []string) *Fetcher {
	return &Fetcher{Exceptions: exceptions, turn: make(chan struct{}, atOnce)}
}

// errAddress says that a host is not at public addresses alone.
var errAddress = errors.New("the host is not at public addresses alone")

// FetchKeys reads the key set at a client's jwks_uri, as carefully as its document. The URL was
// checked before.
func (f *Fetcher) FetchKeys(ctx context.Context, address string) ([]byte, error) {
	if f.turn != nil { // strangers cause it at endpoints whose places are few: nobody waits for a turn there
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

// errBusy says that as many fetches are under way as may be.
var errBusy = errors.New("as many documents are being fetched as may be at once")

// Fetch reads a document and how long it may be taken for true. The URL was checked before.
func (f *Fetcher) Fetch(ctx context.Context, address string) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if f.turn != nil {
		select {
		case f.turn <- struct{}{}:
			defer func() { <-f.turn }()
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("waiting to fetch a document: %w", ctx.Err())
		}
	}
	return f.fetch(ctx, address, maxDocument)
}

func (f *Fetcher) fetch(ctx context.Context, address string, most int64) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("fetching a document: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	transport := &http.Transport{
		DialContext: f.dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.Roots},
		TLSHandshakeTimeout: fetchTime,
		DisableKeepAlives:   true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, ForceAttemptHTTP2: false,
	} // no Proxy: the address that was vetted is the one that is met
	client := &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		return nil, 0, fmt.Errorf("fetching a document: %w", err)
	}
	defer response.Body.Close()
	if err := acceptable(response); err != nil {
		return nil, 0, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err == nil {
		err = ctx.Err() // a server that ends its answer because we hung up has not given it in time
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading a document: %w", err)
	}
	if int64(len(body)) > most {
		return nil, 0, fmt.Errorf("the document is larger than %d bytes", most)
	}
	if bytes.HasPrefix(body, []byte("\xef\xbb\xbf")) {
		return nil, 0, errors.New("the document begins with a byte order mark")
	}
	return body, life(response.Header), nil
}

// acceptable holds the answer's head: 200 and nothing else, JSON, not encoded.
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

// life is how long the document may be taken for true (RFC 9111 §5.2.2, within our bounds).
func life(h http.Header) time.Duration {
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
			return time.Duration(min(seconds, int64(mostLife/time.Second))) * time.Second
		}
	}
	return usualLife
}

// dial resolves the host, vets every address it has, and meets one of those that were vetted: a
// second look-up could bring another.
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
	meet := f.Dial
	if meet == nil {
		var d net.Dialer
		meet = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", to.String())
		}
	}
	errs := []error{errors.New("the host has no address")}
	for _, a := range addresses {
		conn, err := meet(ctx, netip.AddrPortFrom(a, uint16(number)))
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

// special are the address blocks that are not somebody's on the public network (RFC 6890 and the
// registries that it began), beside those that package netip knows by itself.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
)

// assigned6 is what of IPv6 is given to anybody at all (RFC 4291 §2.4 and IANA's registry).
var assigned6 = netip.MustParsePrefix("2000::/3")

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// public says whether an address is somebody's on the public network.
func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" || a.Is6() && !assigned6.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}
