package gateway

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// An event of an older server's stream has an id, by which a client that lost the stream takes it
// up again (MCP 2025-11-25, "Resumability and Redelivery"). A server may keep the events of all its
// sessions together, and go by the id alone: so the id that a client gets says whose it is, as a
// session's name does, and nobody else's goes on to the server (CVE-2026-33946). Nothing is kept
// here.

// lastEvent is the header by which a client takes a stream up.
const lastEvent = "Last-Event-Id"

// eventMark stands between the server's id of an event and ours.
const eventMark = "."

// eventKey makes the key of events' ids of the one of sessions; without one it lasts as long as the
// process, as theirs does.
func eventKey(session config.Secret) []byte {
	if session == "" {
		return []byte(rand.Text() + rand.Text())
	}
	mac := hmac.New(sha256.New, []byte(session.Reveal()))
	mac.Write([]byte("events"))
	return mac.Sum(nil)
}

// eventMAC says whose an event is.
func (p *passage) eventMAC(id string) string {
	mac := hmac.New(sha256.New, p.events)
	for _, part := range []string{p.m.config.Name, p.c.TenantID, p.c.GrantID, id} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// takeUp puts the server's own id of an event in place of the client's. One that is not this
// caller's does not go on: the client gets a stream that begins now. Nobody has one: all who show
// no token would have the same.
func (p *passage) takeUp(r *http.Request) {
	shown := r.Header[lastEvent]
	if len(shown) == 0 {
		return
	}
	at := strings.LastIndex(shown[0], eventMark)
	if len(shown) != 1 || at < 0 || p.c.GrantID == "" ||
		!hmac.Equal([]byte(shown[0][at+1:]), []byte(p.eventMAC(shown[0][:at]))) {
		httpd.Note(r.Context(), "last_event", "not this caller's")
		delete(r.Header, lastEvent)
		return
	}
	r.Header.Set(lastEvent, shown[0][:at])
}

// named is a filter of whole events that says of each whose it is.
type named struct {
	message.Filter
	of func(id string) string
}

// Take implements message.Filter.
func (f *named) Take(p []byte) ([]byte, error) {
	out, err := f.Filter.Take(p)
	return f.name(out), err
}

// End implements message.Filter.
func (f *named) End() ([]byte, error) {
	out, err := f.Filter.End()
	return f.name(out), err
}

func (f *named) name(events []byte) []byte {
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
			if id = bytes.TrimPrefix(id, []byte(" ")); len(id) > 0 { // an empty one says that there is none
				b = append(append(b, eventMark...), f.of(string(id))...)
			}
		}
		next := min(end+1, len(events))
		b, events = append(b, events[end:next]...), events[next:]
	}
	return b
}
