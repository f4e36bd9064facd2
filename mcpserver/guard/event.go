package guard

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// Events of an older server's stream have ids, with which a client resumes a lost stream (MCP
// 2025-11-25, "Resumability and Redelivery"). A server may store the events of all sessions
// together and go by the id alone. So the id that the client gets also says whose event it is, like
// a session id, and only the caller's own ids are forwarded (CVE-2026-33946), without state here.

// lastEvent is the header that resumes a stream.
const lastEvent = "Last-Event-Id"

// eventMACSize is the length of the MAC of an event id, in bytes: each event carries one.
const eventMACSize = 16

// eventOut returns the event id for the client without the server's part.
func (x *request) eventOut(id string) string {
	return base64.RawURLEncoding.EncodeToString(x.policy.mac("event", x.v.caller, id)[:eventMACSize])
}

// resume replaces the client's event id with the server's. An id of another caller is removed: the
// client gets a stream that begins now. Anonymous callers cannot resume: all of them would have the
// same ids.
func (x *request) resume(r *http.Request) {
	shown := r.Header[lastEvent]
	if len(shown) == 0 {
		return
	}
	at := strings.LastIndex(shown[0], sessionMark)
	if len(shown) != 1 || at < 0 || x.v.caller.GrantID == "" ||
		!hmac.Equal([]byte(shown[0][at+1:]), []byte(x.eventOut(shown[0][:at]))) {
		httpd.Note(r.Context(), "last_event", "not this caller's")
		delete(r.Header, lastEvent)
		return
	}
	r.Header.Set(lastEvent, shown[0][:at])
}

// boundEvents is a filter that binds the ids of events to the caller.
type boundEvents struct {
	message.Filter
	of func(id string) string
}

// Take implements message.Filter.
func (f *boundEvents) Take(p []byte) ([]byte, error) {
	out, err := f.Filter.Take(p)
	return f.name(out), err
}

// End implements message.Filter.
func (f *boundEvents) End() ([]byte, error) {
	out, err := f.Filter.End()
	return f.name(out), err
}

func (f *boundEvents) name(events []byte) []byte {
	if !bytes.Contains(events, []byte("id:")) {
		return events
	}
	b := make([]byte, 0, len(events)+64)
	for len(events) > 0 {
		end := bytes.IndexAny(events, "\r\n")
		if end < 0 {
			end = len(events)
		}
		line := events[:end]
		b = append(b, line...)
		if id, ok := bytes.CutPrefix(line, []byte("id:")); ok {
			if id = bytes.TrimPrefix(id, []byte(" ")); len(id) > 0 { // an empty id means that there is none
				b = append(append(b, sessionMark...), f.of(string(id))...)
			}
		}
		next := min(end+1, len(events))
		b, events = append(b, events[end:next]...), events[next:]
	}
	return b
}
