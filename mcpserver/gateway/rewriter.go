package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// rewriter is a ResponseWriter whose messages are changed on their way: an answer of one message
// when it is whole, a stream event by event.
type rewriter struct {
	http.ResponseWriter
	id      json.RawMessage // of the request that is answered; nil: none is
	most    int64           // bytes that are held back; 0: 8 MiB
	note    func(why string)
	cut     func([]byte) ([]byte, bool)
	event   func(id string) string // says whose an event is
	streams bool                   // an answer of one message goes as it is

	status int
	filter message.Filter // nil: bytes go as they are
	held   bool           // the head waits for the whole message
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
		w.filter = &named{&message.Events{Cut: w.cutEvent, Most: w.most}, w.event}
	case kind == "application/json" && !w.streams:
		w.filter, w.held = &message.Whole{Cut: w.cut, Most: w.most}, true
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// cutEvent is cut for a message in a stream: what cannot be read and is the answer to this request
// is one no more, and its client is told.
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
		if _, err := w.ResponseWriter.Write(out); err != nil { // whoever it goes to has ended it, and knows
			return 0, err
		}
	}
	if err != nil {
		w.failed = err
		return 0, err
	}
	return len(p), nil
}

// Flush implements http.Flusher: a stream's events go out one by one.
func (w *rewriter) Flush() {
	w.WriteHeader(http.StatusOK)
	if !w.held {
		_ = http.NewResponseController(w.ResponseWriter).Flush() // one that cannot is one that need not
	}
}

// finish sends what was held back. A list that cannot be read is not shown: somebody else could
// read it.
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
				Message: "the server behind this gateway lists what cannot be read"})
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
