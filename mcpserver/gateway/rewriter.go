package gateway

import (
	"net/http"
	"strconv"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// rewriter is a ResponseWriter whose messages are changed on their way: an answer of one message when it is whole, a stream event by event.
type rewriter struct {
	http.ResponseWriter
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
		w.filter = &named{&message.Events{Cut: w.cut}, w.event}
	case kind == "application/json" && !w.streams:
		w.filter, w.held = &message.Whole{Cut: w.cut}, true
		return
	}
	w.ResponseWriter.WriteHeader(status)
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
	if err != nil {
		w.failed = err
		return 0, err
	}
	if len(out) > 0 {
		if _, err := w.ResponseWriter.Write(out); err != nil { // whoever it goes to has ended it, and knows
			return 0, err
		}
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

// finish sends what was held back. A list that cannot be read is not shown: somebody else could read it.
func (w *rewriter) finish() {
	if w.filter == nil {
		return
	}
	var out []byte
	if w.failed == nil {
		out, w.failed = w.filter.End()
	}
	switch {
	case w.failed != nil && w.held:
		message.Refuse(w.ResponseWriter, http.StatusBadGateway, nil, &message.Fault{Code: message.CodeInternal, Message: "the server behind this gateway lists what cannot be read"})
	case w.failed != nil:
		panic(http.ErrAbortHandler) // so that the client sees that this is not the end
	case w.held:
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
		w.ResponseWriter.WriteHeader(w.status)
		w.ResponseWriter.Write(out)
	case len(out) > 0:
		w.ResponseWriter.Write(out)
	}
}
