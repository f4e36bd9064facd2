package message

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// ParameterHeader is the prefix of headers that mirror arguments (MCP 2026-07-28, "x-mcp-header");
// the server compares them with the message.
const ParameterHeader = "Mcp-Param-"

// Lasts reports whether a request is for a stream without an end: a GET of an older client, or a
// subscription of a newer one.
func Lasts(r *http.Request, m *Message) bool {
	return r.Method == http.MethodGet || m.Method == "subscriptions/listen"
}

// Refusal is an HTTP error of a request that is not a message.
type Refusal struct {
	Status  int
	Message string
}

// Read checks the HTTP request and reads its body, at most so many bytes (MCP, "Sending Messages to
// the Server").
func Read(w http.ResponseWriter, r *http.Request, most int64) ([]byte, *Refusal) {
	if r.Method != http.MethodPost {
		return nil, &Refusal{http.StatusMethodNotAllowed, "this endpoint takes POST"}
	}
	if !isJSON(r.Header.Values("Content-Type")) || r.Header.Get("Content-Encoding") != "" {
		return nil, &Refusal{http.StatusUnsupportedMediaType,
			"send the message as application/json, in UTF-8 and not compressed"}
	}
	if !acceptable(r.Header.Values("Accept")) {
		return nil, &Refusal{http.StatusNotAcceptable, "send Accept: application/json, text/event-stream"}
	}
	tooLarge := &Refusal{http.StatusRequestEntityTooLarge, "the message is larger than " + strconv.FormatInt(most, 10) +
		" bytes"}
	if r.ContentLength > most {
		return nil, tooLarge
	}
	body, err := readAll(http.MaxBytesReader(w, r.Body, most), r.ContentLength)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge
	case err != nil:
		return nil, &Refusal{http.StatusBadRequest, "the message could not be read"}
	}
	return body, nil
}

// readAll reads a body into memory of the announced size, which the caller has limited.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	if announced < 0 {
		return io.ReadAll(r)
	}
	body := make([]byte, announced)
	_, err := io.ReadFull(r, body)
	return body, err
}

// Kind returns the media type of a body in lower case, without parameters; "" if it is not valid.
func Kind(header http.Header) string {
	switch named := header.Get("Content-Type"); named {
	case "application/json", "text/event-stream": // the common forms
		return named
	default:
		kind, _, err := mime.ParseMediaType(named)
		if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) { // clients only look at the type
			return ""
		}
		return kind
	}
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

// acceptable reports whether the client accepts both forms of responses, as it must (MCP, "Sending
// Messages to the Server"). No Accept header accepts everything (RFC 9110 section 12.5.1).
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

// IsModern reports whether a request belongs to the modern era: it names a modern or unknown
// revision in the header or in _meta. initialize is legacy, and so is a request that names nothing.
func IsModern(m *Message, header http.Header) bool {
	if m.Meta {
		return !IsLegacy(m.MetaVersion)
	}
	if m.Method == "initialize" {
		return false
	}
	version := header.Get("Mcp-Protocol-Version")
	return m.Method == "server/discover" || version != "" && !IsLegacy(version)
}

// CheckEra compares the headers of a request with its body: a proxy may have acted on the headers,
// and the server acts on the body (MCP 2026-07-28, "Server Validation").
func CheckEra(m *Message, header http.Header) *Fault {
	if IsModern(m, header) {
		if f := checkHeaders(m, header); f != nil {
			return f
		}
		return checkMeta(m)
	}
	versions := header["Mcp-Protocol-Version"]
	if len(versions) > 1 || m.Meta && (len(versions) != 1 || versions[0] != m.MetaVersion) {
		return mismatch("the MCP-Protocol-Version header and the message name different versions")
	}
	return nil
}

func mismatch(what string) *Fault { return &Fault{Code: CodeHeaders, Message: what} }

func checkHeaders(m *Message, header http.Header) *Fault {
	version, ok := single(header, "Mcp-Protocol-Version")
	if !ok {
		return mismatch("the MCP-Protocol-Version header must be there, once")
	}
	if m.Meta && version != m.MetaVersion {
		return mismatch("the MCP-Protocol-Version header and _meta name different versions")
	}
	if version != Modern && !IsLegacy(version) {
		return unsupported(version) // before other checks of an unknown revision
	}
	if method, ok := single(header, "Mcp-Method"); !ok || method != m.Method {
		return mismatch("the Mcp-Method header must be there, once, and be the message's method")
	}
	want, named := m.Name, m.Method == "tools/call" || m.Method == "prompts/get"
	if m.Method == "resources/read" {
		want, named = m.URI, true
	}
	if !named {
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
	if name != want {
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

// maxVersion limits how much of an unsupported version is repeated, in bytes.
const maxVersion = 64

// unsupported returns the error for an unsupported revision (MCP 2026-07-28, versioning).
func unsupported(version string) *Fault {
	return &Fault{CodeUnsupported, "this protocol version is not spoken", struct {
		Supported []string `json:"supported"`
		Requested string   `json:"requested"`
	}{Versions(), version[:min(len(version), maxVersion)]}}
}

// checkMeta checks the _meta of a modern request (MCP 2026-07-28, basic; versioning).
func checkMeta(m *Message) *Fault {
	if !m.Meta || m.MetaVersion == "" {
		return BadParams("_meta must name the " + MetaVersion)
	}
	if m.MetaVersion != Modern {
		return unsupported(m.MetaVersion)
	}
	if !m.Capabilities {
		return BadParams("_meta must have " + MetaCapabilities + ", an object")
	}
	return nil
}

// Status returns the HTTP status of a fault. Legacy clients expect 200 for JSON-RPC errors, unless
// the message is invalid. A notification is accepted, or rejected by HTTP.
func Status(m *Message, f *Fault, modern bool) int {
	status := http.StatusBadRequest
	switch {
	case f.Code == CodeNoMethod && modern:
		status = http.StatusNotFound
	case (f.Code == CodeNoMethod || f.Code == CodeParams) && !modern:
		status = http.StatusOK
	}
	if m.ID == nil {
		status = max(status, http.StatusBadRequest)
	}
	return status
}

// Refuse writes an error response. Without an id it has none: MCP has no null id.
func Refuse(w http.ResponseWriter, status int, id json.RawMessage, f *Fault) {
	Write(w, status, ErrorTo(id, f))
}

// Write writes a JSON response.
func Write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
