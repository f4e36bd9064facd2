package mcp

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// Endpoint is the MCP endpoint: Streamable HTTP, one JSON answer to one POST, no session, no stream.
type Endpoint struct {
	Catalog *Catalog
	Info    Info
	// Deny answers a call that the caller's scopes do not open; scopes are those that the call needs, with those that the caller has. Required:
	// see guard.Challenge.
	Deny func(w http.ResponseWriter, r *http.Request, scopes []string)
	// MaxBody bounds a message, in bytes; 0: 1 MiB.
	MaxBody int64
	// CallTime bounds a tool's run; 0: 20 seconds.
	CallTime time.Duration
}

const (
	defaultMaxBody  = 1 << 20
	defaultCallTime = 20 * time.Second
)

// Serve answers one request of a caller.
func (e *Endpoint) Serve(w http.ResponseWriter, r *http.Request, caller Caller) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // MC-23: what is listed depends on who asks
	h.Add("Vary", "Authorization")
	body, refused := e.read(w, r)
	if refused != nil {
		httpd.Note(r.Context(), "refused", refused.message)
		if refused.status == http.StatusMethodNotAllowed {
			h.Set("Allow", "POST") // MC-13: neither a stream nor a session to delete
		}
		write(w, refused.status, errorAnswer(nil, invalid(refused.message)))
		return
	}
	m, f := parse(body)
	if f == nil {
		httpd.Note(r.Context(), "mcp", m.method)
		x := &exchange{Endpoint: e, server: e.Catalog.For(caller), m: &m, w: w, r: r}
		f = x.serve()
	}
	if f == nil {
		return
	}
	httpd.Note(r.Context(), "refused", f.message)
	code := status(f, isModern(&m, r))
	if m.id == nil {
		code = max(code, http.StatusBadRequest) // RS-37: a notification is accepted, or refused by HTTP
	}
	write(w, code, errorAnswer(m.id, f))
}

// refusal is a request that is not a message to us at all.
type refusal struct {
	status  int
	message string
}

// read checks the request as HTTP and reads its body.
func (e *Endpoint) read(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if r.Method != http.MethodPost {
		return nil, &refusal{http.StatusMethodNotAllowed, "this endpoint takes POST"}
	}
	if !isJSON(r.Header.Values("Content-Type")) || r.Header.Get("Content-Encoding") != "" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "send the message as application/json, in UTF-8 and not compressed"} // MC-19
	}
	if !acceptable(r.Header.Values("Accept")) {
		return nil, &refusal{http.StatusNotAcceptable, "send Accept: application/json, text/event-stream"}
	}
	most := e.MaxBody
	if most == 0 {
		most = defaultMaxBody
	}
	tooLarge := &refusal{http.StatusRequestEntityTooLarge, "the message is larger than " + strconv.FormatInt(most, 10) + " bytes"}
	if r.ContentLength > most {
		return nil, tooLarge
	}
	body, err := readAll(http.MaxBytesReader(w, r.Body, most), r.ContentLength)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, "the message could not be read"}
	}
	return body, nil
}

// readAll reads a body into memory of the announced size, which was bounded before.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	if announced < 0 {
		return io.ReadAll(r)
	}
	body := make([]byte, announced)
	_, err := io.ReadFull(r, body)
	return body, err
}

func isJSON(values []string) bool {
	if len(values) != 1 {
		return false
	}
	if values[0] == "application/json" {
		return true
	}
	kind, parameters, err := mime.ParseMediaType(values[0])
	charset := parameters["charset"]
	return err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// acceptable says whether the client takes both forms of answer, as it must (MCP, "Sending Messages to the Server"). No Accept header at all
// takes everything (RFC 9110 §12.5.1).
func acceptable(values []string) bool {
	if len(values) == 0 {
		return true
	}
	json, stream := false, false
	for _, value := range values {
		for kind := range strings.SplitSeq(value, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "*/*":
				return true
			case "application/json", "application/*":
				json = true
			case "text/event-stream", "text/*":
				stream = true
			}
		}
	}
	return json && stream
}

// isModern says which era a request belongs to. What names a modern or an unknown revision, in the header or in _meta, is modern; initialize is
// legacy, as is a request that names nothing.
func isModern(m *message, r *http.Request) bool {
	if m.meta {
		return !slices.Contains(legacy, m.metaVersion)
	}
	if m.method == "initialize" {
		return false
	}
	version := r.Header.Get("Mcp-Protocol-Version")
	return m.method == "server/discover" || version != "" && !slices.Contains(legacy, version)
}

// checkHeaders holds the mirrored headers of a modern request against its body: a proxy may have acted on the one, we act on the other (MC-07).
func checkHeaders(m *message, header http.Header) *fault {
	mismatch := func(message string) *fault { return &fault{code: codeHeaders, message: message} }
	version, ok := single(header, "Mcp-Protocol-Version")
	if !ok {
		return mismatch("the MCP-Protocol-Version header must be there, once")
	}
	if m.meta && version != m.metaVersion {
		return mismatch("the MCP-Protocol-Version header and _meta name different versions")
	}
	if method, ok := single(header, "Mcp-Method"); !ok || method != m.method {
		return mismatch("the Mcp-Method header must be there, once, and be the message's method")
	}
	if m.method != "tools/call" {
		return nil
	}
	name, ok := single(header, "Mcp-Name")
	if !ok {
		return mismatch("the Mcp-Name header must be there, once")
	}
	if encoded, found := strings.CutPrefix(name, "=?base64?"); found {
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(encoded, "?="))
		if err != nil || !strings.HasSuffix(encoded, "?=") {
			return mismatch("the Mcp-Name header is not in base64")
		}
		name = string(decoded)
	}
	if name != m.name {
		return mismatch("the Mcp-Name header is not the name in the message")
	}
	return nil
}

func single(header http.Header, name string) (string, bool) {
	values := header[name]
	if len(values) != 1 {
		return "", false
	}
	return values[0], true
}

// checkMeta holds what a modern request must say of itself (MCP 2026-07-28, basic; versioning).
func checkMeta(m *message) *fault {
	if !m.meta || m.metaVersion == "" {
		return badParams("_meta must name the " + metaVersion)
	}
	if m.metaVersion != Modern {
		return &fault{codeUnsupported, "this protocol version is not spoken", struct {
			Supported []string `json:"supported"`
			Requested string   `json:"requested"`
		}{Versions(), m.metaVersion}}
	}
	if !m.capabilities {
		return badParams("_meta must have " + metaCapabilities + ", an object")
	}
	return nil
}

// status is the HTTP status of a fault. Legacy clients expect 200 around an error of JSON-RPC, unless the message is none.
func status(f *fault, modern bool) int {
	switch f.code {
	case codeNoMethod:
		if modern {
			return http.StatusNotFound
		}
		return http.StatusOK
	case codeParams:
		if modern {
			return http.StatusBadRequest
		}
		return http.StatusOK
	}
	return http.StatusBadRequest
}
