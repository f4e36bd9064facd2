package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// mostSaid bounds what is quoted of a server's header, in bytes.
const mostSaid = 200

// wrong says, for the operator, why a response cannot be passed on; nil when its head does not
// tell.
func (a *answer) wrong(status int, kind string) error {
	if status < 300 && (a.silent || kind == "application/json" || kind == "text/event-stream") {
		return nil
	}
	at := a.URL.Redacted()
	switch {
	case status >= 300 && status < 400:
		return fmt.Errorf("the server at %s redirects (%d) to %s: redirects are not followed, so give the address at "+
			"which it answers", at, status, bare(a.URL, a.response.Header.Get("Location")))
	case status == http.StatusUnauthorized:
		asks := ""
		if challenge := a.response.Header.Get("Www-Authenticate"); challenge != "" {
			asks = fmt.Sprintf(" (it asks for %.*q)", mostSaid, challenge)
		}
		return fmt.Errorf("the server at %s answers 401%s: it needs a credential, or another one", at, asks)
	case status == http.StatusForbidden:
		return fmt.Errorf("the server at %s answers 403: it refuses the credential, or to be called by this host name",
			at)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		if kind == "application/json" {
			return nil // it may mean that there is no such method
		}
		return fmt.Errorf("the server at %s answers %d: is the path right?", at, status)
	case status >= 500:
		return fmt.Errorf("the server at %s answers %d", at, status)
	case kind == "text/html":
		return fmt.Errorf("the server at %s answers with a web page (text/html) and not with MCP: is the path right?",
			at)
	case status == http.StatusOK:
		return fmt.Errorf("the server at %s answers with %.*q and not with JSON or a stream of events", at, mostSaid,
			a.response.Header.Get("Content-Type"))
	}
	return nil
}

// bare returns where a redirect leads, without what may hold a secret.
func bare(from *url.URL, location string) string {
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return "an address that cannot be read"
	}
	to.User, to.RawQuery, to.Fragment = nil, "", ""
	return fmt.Sprintf("%.*s", mostSaid, to.String())
}

// ErrOldTransport says that a server supports the transport of MCP 2024-11-05 only.
var ErrOldTransport = errors.New("the server speaks HTTP+SSE alone, the transport of MCP 2024-11-05, and not " +
	"Streamable HTTP: see whether it has another path (often /mcp in place of /sse) or a newer version")

// oldWithin is how long to wait for the first event of the older transport.
const oldWithin = 5 * time.Second

// SpeaksOldTransport reports whether the server opens an HTTP+SSE stream (MCP 2024-11-05, "HTTP
// with SSE"), whose first event names the URL to post to.
func (s *Server) SpeaksOldTransport(ctx context.Context, c mcp.Caller) bool {
	ctx, cancel := context.WithTimeout(ctx, oldWithin)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL.String(), nil)
	if err != nil {
		return false
	}
	ask.Header.Set("Accept", "text/event-stream")
	out, err := s.request(ctx, ask, c, nil)
	if err != nil {
		return false
	}
	response, err := s.transport.RoundTrip(out)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK ||
		!strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		return false
	}
	begins := make([]byte, 0, 512)
	for len(begins) < cap(begins) {
		n, err := response.Body.Read(begins[len(begins):cap(begins)])
		begins = begins[:len(begins)+n]
		if bytes.Contains(begins, []byte("event: endpoint")) || bytes.Contains(begins, []byte("event:endpoint")) {
			return true
		}
		if err != nil && !errors.Is(err, io.EOF) || n == 0 {
			return false
		}
	}
	return false
}
