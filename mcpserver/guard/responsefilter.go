package guard

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// responseFilter is an http.ResponseWriter that filters a response.
type responseFilter struct {
	http.ResponseWriter
	begin   func() // called once, before the header is sent
	through message.Filter
	failure *message.Failure // looks for a failure in the response; nil: not needed
	id      json.RawMessage  // of the request that is answered
	note    func(why string) // logs why the response was cut off

	mu     sync.Mutex // a stream is also written and cut off by another goroutine
	status int
	stream bool      // the response is an event stream; set before the header is sent
	held   bool      // the header is not sent before the message is complete
	headed bool      // the header was sent
	gone   bool      // nothing more is sent
	short  bool      // the response was cut off
	waits  bool      // the guard sends nothing before the server's first message
	due    []byte    // an event of the guard's to be sent
	last   time.Time // when something was sent last
	failed error
}

func (w *responseFilter) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	w.status = status
	if w.begin != nil {
		w.begin()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.plain().(type) {
	case *message.Whole, *message.One:
		w.held = true
	}
	if !w.held && !w.gone {
		w.head()
		w.deliver()
	}
}

// plain returns the filter behind the decoder, if there is one.
func (w *responseFilter) plain() message.Filter {
	if c, ok := w.through.(*message.Coded); ok {
		return c.Next
	}
	return w.through
}

// head sends the header. w.mu must be held.
func (w *responseFilter) head() {
	w.ResponseWriter.WriteHeader(w.status)
	w.held, w.headed, w.last = false, true, time.Now()
}

func (w *responseFilter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return 0, http.ErrHandlerTimeout
	}
	switch w.through.(type) {
	case nil, *message.One:
		w.look(p)
	}
	if w.through == nil {
		return w.ResponseWriter.Write(p)
	}
	out, err := w.through.Take(p)
	if len(out) > 0 {
		if w.held {
			w.head()
		}
		_, wrong := w.ResponseWriter.Write(out)
		w.last = time.Now()
		err = cmp.Or(err, wrong)
	}
	if err != nil {
		w.gone, w.failed = true, err
		return 0, err
	}
	w.deliver()
	return len(p), nil
}

// insert sends an event of the guard's own between two of the server's.
func (w *responseFilter) insert(event []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = event
	w.deliver()
}

// deliver sends the pending event if it may be sent now. w.mu must be held.
func (w *responseFilter) deliver() {
	if w.gone || w.due == nil || !w.headed || w.waits {
		return
	}
	event := w.due
	w.due = nil
	w.between(event)
}

// between writes text between two events of the server's. w.mu must be held.
func (w *responseFilter) between(text []byte) {
	if _, err := w.ResponseWriter.Write(text); err != nil {
		w.gone, w.failed = true, err
		return
	}
	w.last = time.Now()
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a writer that cannot flush does not buffer
}

// comment keeps a silent stream open. Clients ignore it (HTML, "Interpreting an event stream"), and
// the empty line after it does not end an event.
const comment = ": keep-alive\n\n"

// keepAlive writes a comment if nothing was sent for the given time, and returns when to check
// again.
func (w *responseFilter) keepAlive(silent time.Duration) (again time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if left := silent - time.Since(w.last); left > 0 {
		return left
	}
	if !w.gone && w.headed && w.status == http.StatusOK {
		w.between([]byte(comment))
	}
	return silent
}

// finish sends what was buffered, or an error. A stream that cannot continue ends with an error for
// the request that it answers; one that answers none is aborted, so that the client notices.
func (w *responseFilter) finish() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []byte
	if w.through != nil && !w.gone {
		out, w.failed = w.through.End()
	}
	if w.failed != nil {
		w.note(w.failed.Error())
	}
	switch {
	case w.failed != nil && w.held:
		status := http.StatusBadGateway
		if w.status >= http.StatusBadRequest {
			// an error keeps its status: 404 tells an older client to start a new session
			status = w.status
		}
		message.Refuse(w.ResponseWriter, status, w.id,
			&message.Fault{Code: message.CodeInternal, Message: w.failed.Error()})
	case w.failed != nil:
		message.CutOff(w.ResponseWriter, w.id, w.failed.Error())
	case !w.held && len(out) > 0:
		w.ResponseWriter.Write(out)
	case w.held:
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
		w.head()
		w.ResponseWriter.Write(out)
	}
}

// replace answers in place of the server.
func (w *responseFilter) replace(status int, body []byte) {
	w.cut()
	w.status = status
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/json")
	w.ResponseWriter.WriteHeader(status)
	w.ResponseWriter.Write(body)
}

// endWithin is the time a client has to read the last events of a stream that is cut off.
const endWithin = 2 * time.Second

// end cuts the response off. A request that waits for its answer gets an error with the reason,
// after the event that is being written; end does not wait for clients that do not read.
func (w *responseFilter) end(why string) {
	// an error means that there is no deadline to set
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(endWithin))
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone && w.headed && w.id != nil && w.stream {
		w.between(message.Event(message.ErrorTo(w.id, &message.Fault{Code: message.CodeInternal, Message: why})))
	}
	w.gone, w.short = true, true
}

// look looks for a failure in a part of the response.
func (w *responseFilter) look(p []byte) {
	if w.failure != nil {
		_, _ = w.failure.Write(p) // it never fails
	}
}

// lookAt looks for a failure in one message of a stream.
func (w *responseFilter) lookAt(m []byte) {
	if w.failure == nil || w.failure.Why() != "" {
		return
	}
	*w.failure = message.Failure{}
	w.look(m)
}

// why returns why a call failed, as far as the response says so; "cut" if it was cut off; "" if it
// did not fail.
func (w *responseFilter) why() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.failure == nil:
		return ""
	case w.failure.Why() == "" && (w.short || w.failed != nil):
		return "cut"
	}
	return w.failure.Why()
}

// cut sends nothing more.
func (w *responseFilter) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
}

// Flush implements http.Flusher.
func (w *responseFilter) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone && !w.held {
		http.NewResponseController(w.ResponseWriter).Flush()
	}
}

// SetReadDeadline implements what http.ResponseController looks for.
func (w *responseFilter) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(t)
}

// SetWriteDeadline implements what http.ResponseController looks for.
func (w *responseFilter) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}
