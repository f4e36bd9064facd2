package upstream

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// passes are the request headers that the server gets. All others are dropped: Authorization,
// Cookie, DPoP, Forwarded and unknown ones.
var passes = [...]string{
	"Accept", "Content-Type", "Last-Event-Id", "Mcp-Method", "Mcp-Name", "Mcp-Protocol-Version", "Mcp-Session-Id",
	"Traceparent", "Tracestate",
}

const userAgent = "gatehouse-gateway"

func requestHeader(from http.Header) http.Header {
	h := make(http.Header, len(passes)+4)
	for _, name := range passes {
		if v := from[name]; len(v) > 0 {
			h[name] = v
		}
	}
	for name, v := range from {
		if strings.HasPrefix(name, message.ParameterHeader) {
			h[name] = v
		}
	}
	h["User-Agent"] = []string{userAgent}
	return h
}

// returns are the response headers that the caller gets: no cookie, redirect or challenge.
var returns = [...]string{"Content-Type", "Mcp-Protocol-Version", "Mcp-Session-Id", "Retry-After"}

// answer is a server's response being passed on.
type answer struct {
	*Server
	w http.ResponseWriter
	r *http.Request
	sent
	response *http.Response
	ctx      context.Context // ends with the request, or when no data comes for long
	report   func(outcome)   // called once with how the server was found
	touch    func()          // called for each piece of data
}

// pass passes the response on, or answers an error in its place.
func (a *answer) pass() {
	status := a.response.StatusCode
	kind := message.Kind(a.response.Header)
	if why := a.wrong(status, kind); why != nil {
		a.Trouble(why)
	}
	switch {
	case a.silent && status >= 200 && status < 300: // the body is ignored (MCP, "Sending Messages to the Server")
		a.report(good)
		a.head()
		a.w.Header().Del("Content-Type")
		a.w.WriteHeader(http.StatusAccepted)
		return
	case !a.decode():
		return
	}
	switch {
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable ||
		status == http.StatusGatewayTimeout:
		a.refuse(bad, errDown)
	case status >= 300 && status < 400, status == http.StatusUnauthorized, status == http.StatusForbidden,
		status == http.StatusProxyAuthRequired, status >= 500:
		// A redirect is neither followed nor passed on. A server's 401 is about the gateway's
		// credential: passed on, it would send the client to another issuer.
		a.refuse(good, errRefuses)
	case kind == "text/event-stream" && status == http.StatusOK:
		a.stream()
	case status == http.StatusAccepted || status == http.StatusNoContent || status == http.StatusOK &&
		a.r.Method == http.MethodDelete:
		a.report(good)
		a.head()
		a.w.WriteHeader(status)
	case status >= 400 && kind != "application/json":
		a.report(good)
		a.plain()
	case kind != "application/json":
		a.refuse(good, errBroken)
	default:
		a.whole()
	}
}

// decode decodes a content coding that was not requested, and reports whether it could.
func (a *answer) decode() bool {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(a.response.Header["Content-Encoding"], ",")))
	var plain io.Reader
	var err error
	switch coding {
	case "", "identity":
		return true
	case "gzip", "x-gzip":
		plain, err = gzip.NewReader(&paced{a.response.Body, a.touch})
	case "deflate":
		plain, err = zlib.NewReader(&paced{a.response.Body, a.touch})
	default:
		err = errors.New("it is not known here")
	}
	if err != nil {
		httpd.Note(a.r.Context(), "error",
			fmt.Errorf("the server compresses what was not asked for compressed, with %.40q: %w", coding, err))
		a.refuse(good, errBroken)
		return false
	}
	a.response.Body = struct {
		io.Reader
		io.Closer
	}{plain, a.response.Body}
	return true
}

// plain answers a server's error in the gateway's own words: the status is passed on, the text may
// reveal internals.
func (a *answer) plain() {
	if a.response.StatusCode == http.StatusMethodNotAllowed {
		a.w.Header().Set("Allow", "POST") // RFC 9110 §15.5.6; other methods are not supported here
	}
	message.Refuse(a.w, a.response.StatusCode, a.id,
		&message.Fault{Code: message.CodeInvalid, Message: "the server refuses this request"})
}

// refuse answers in place of the server.
func (a *answer) refuse(found outcome, err error) {
	a.report(found)
	httpd.Note(a.r.Context(), "upstream_status", a.response.StatusCode)
	refuse(a.w, a.r, http.StatusBadGateway, a.id, err)
}

func (a *answer) head() {
	h := a.w.Header()
	for _, name := range returns {
		if v := a.response.Header[name]; len(v) == 1 {
			h[name] = v
		}
	}
}

// whole passes on a response that is one message.
func (a *answer) whole() {
	body, err := io.ReadAll(&paced{io.LimitReader(a.response.Body, a.Limits.Answer+1), a.touch})
	switch {
	case a.r.Context().Err() != nil:
		a.report(unknown)
		return
	case a.ctx.Err() != nil:
		a.report(unknown)
		refuse(a.w, a.r, http.StatusGatewayTimeout, a.id, errSlow)
		return
	case err != nil:
		httpd.Note(a.r.Context(), "error", err)
		a.refuse(bad, errDown)
		return
	case int64(len(body)) > a.Limits.Answer:
		a.refuse(good, errLarge) // caused by the request, so no failure of the server
		return
	case !isMessage(body) && a.response.StatusCode >= 400:
		a.report(good)
		a.plain()
		return
	case !isMessage(body):
		a.refuse(good, errBroken)
		return
	}
	a.report(good)
	a.head()
	contentLength(a.w.Header(), len(body))
	a.w.WriteHeader(a.response.StatusCode)
	a.w.Write(body)
}

// isMessage reports whether a body is one unambiguous JSON-RPC message, except for list entries,
// which can be left out.
func isMessage(body []byte) bool {
	if string(message.Value(body, "jsonrpc")) == `"2.0"` {
		return true
	}
	_, _, ok := message.Mend(body) // a list with an invalid entry
	return ok
}

// stream passes on a stream, piece by piece.
func (a *answer) stream() {
	a.report(good)
	a.head()
	a.w.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(a.w)
	flusher.Flush()
	piece := make([]byte, 16<<10)
	// an event had an id, so the client can resume the stream (MCP 2025-11-25, "Resumability and
	// Redelivery")
	resumes := false
	for {
		n, err := a.response.Body.Read(piece)
		if n > 0 {
			a.touch()
			resumes = resumes || bytes.HasPrefix(piece[:n], []byte("id:")) || bytes.Contains(piece[:n], []byte("\nid:"))
			if _, err := a.w.Write(piece[:n]); err != nil {
				return // the client is gone
			}
			flusher.Flush()
		}
		switch {
		case errors.Is(err, io.EOF) || a.r.Context().Err() != nil:
			return
		case err != nil:
			httpd.Note(a.r.Context(), "error", err)
			why := errDown
			if a.ctx.Err() != nil {
				why = errSlow
			}
			httpd.Note(a.r.Context(), "cut", why)
			if resumes {
				panic(http.ErrAbortHandler)
			}
			message.CutOff(a.w, a.id, why.Error())
			return
		}
	}
}

// paced calls a function for each piece of data.
type paced struct {
	io.Reader
	touch func()
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.touch()
	return n, err
}
