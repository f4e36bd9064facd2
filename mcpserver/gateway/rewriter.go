package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// rewriter is an http.ResponseWriter that changes the messages of a response: a JSON response when
// it is complete, a stream event by event.
type rewriter struct {
	http.ResponseWriter
	id      json.RawMessage // of the answered request; nil: none
	most    int64           // limit of what is buffered; 0: 8 MiB
	note    func(why string)
	cut     func([]byte) ([]byte, bool)
	event   func(id string) string // binds an event id to the caller
	streams bool                   // a JSON response is not changed

	status int
	filter message.Filter // nil: no change
	held   bool           // the header waits for the whole message
	failed error
}

func (w *rewriter) WriteHeader(status int) {
	if status < 200 || w.status != 0 {
		return
	}
	w.status = status
	kind := message.Kind(w.Header())
	switch {
	case kind == "text/event-stream":
		w.filter = &boundEvents{&message.Events{Cut: w.cutEvent, Most: w.most}, w.event}
	case kind == "application/json" && !w.streams:
		w.filter, w.held = &message.Whole{Cut: w.cut, Most: w.most}, true
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// cutEvent changes a message of a stream. If it is unreadable and answers this request, the client
// gets an error in its place.
func (w *rewriter) cutEvent(raw []byte) (out []byte, drop bool) {
	out, drop = w.cut(raw)
	if !drop {
		return out, false
	}
	if told := message.Unanswered(raw, w.id); told != nil {
		w.note(message.ErrUnreadable.Error())
		return told, false
	}
	return nil, true
}

func (w *rewriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.filter == nil {
		return w.ResponseWriter.Write(p)
	}
	if w.failed != nil {
		return 0, w.failed
	}
	out, err := w.filter.Take(p)
	if len(out) > 0 {
		if _, err := w.ResponseWriter.Write(out); err != nil { // the client has gone
			return 0, err
		}
	}
	if err != nil {
		w.failed = err
		return 0, err
	}
	return len(p), nil
}

// Flush implements http.Flusher.
func (w *rewriter) Flush() {
	w.WriteHeader(http.StatusOK)
	if !w.held {
		_ = http.NewResponseController(w.ResponseWriter).Flush() // a writer that cannot flush does not buffer
	}
}

// finish sends what was buffered. An unreadable list is replaced by an error, because clients could
// read it differently.
func (w *rewriter) finish() {
	if w.filter == nil {
		return
	}
	var out []byte
	if w.failed == nil {
		out, w.failed = w.filter.End()
	}
	if w.failed != nil {
		w.note(w.failed.Error())
	}
	switch {
	case w.failed != nil && w.held:
		message.Refuse(w.ResponseWriter, http.StatusBadGateway, w.id,
			&message.Fault{Code: message.CodeInternal,
				Message: "the upstream server sent an unreadable list"})
	case w.failed != nil:
		message.CutOff(w.ResponseWriter, w.id, w.failed.Error())
	case w.held:
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
		w.ResponseWriter.WriteHeader(w.status)
		w.ResponseWriter.Write(out)
	case len(out) > 0:
		w.ResponseWriter.Write(out)
	}
}
