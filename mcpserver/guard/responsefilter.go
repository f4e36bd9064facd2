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

// watched is a ResponseWriter that knows when the answer begins, and what goes through it.
type responseFilter struct {
	http.ResponseWriter
	begin   func() // called once, before the head goes out
	through message.Filter
	failure *message.Failure // looks at an answer of one message; nil: nobody asks
	id      json.RawMessage  // of the message that is answered
	note    func(why string) // says in the log why the answer was cut

	mu     sync.Mutex // a stream is cut, and told something, from another goroutine
	status int
	stream bool      // the answer is one; set before the head is out
	held   bool      // the head waits until the answer is whole, or known to be one message
	headed bool      // the head is out
	gone   bool      // nothing more goes out
	short  bool      // the answer was cut
	waits  bool      // nothing is told before the server's first message
	due    []byte    // an event that is to be told
	last   time.Time // when something went out
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

// plain is the filter that the answer goes through when its coding is undone.
func (w *responseFilter) plain() message.Filter {
	if c, ok := w.through.(*message.Coded); ok {
		return c.Next
	}
	return w.through
}

// head sends the head. w.mu is held.
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

// insert puts an event of the guard's own between two of the server's: what has gone through the
// filter of a stream are whole events.
func (w *responseFilter) insert(event []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = event
	w.deliver()
}

// deliver writes the event that is due, when its time has come. w.mu is held.
func (w *responseFilter) deliver() {
	if w.gone || w.due == nil || !w.headed || w.waits {
		return
	}
	event := w.due
	w.due = nil
	w.between(event)
}

// between writes something of the guard's own between two events of the server's. w.mu is held.
func (w *responseFilter) between(text []byte) {
	if _, err := w.ResponseWriter.Write(text); err != nil {
		w.gone, w.failed = true, err
		return
	}
	w.last = time.Now()
	_ = http.NewResponseController(w.ResponseWriter).Flush() // one that cannot is one that need not
}

// comment is what a silent stream gets: clients leave it out (HTML, "Interpreting an event
// stream"), and the empty line after it ends no event.
const comment = ": keep-alive\n\n"

// keepAlive writes a comment when nothing has gone out for so long, and says when to look again.
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

// finish sends what was held back, or says that the server's answer cannot be shown. A stream that
// cannot go on ends with an error for the request that it answers; one that answers none is broken
// off, so that its client sees it.
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
			// a refusal stays one: 404 tells an older client that its session is over, and to begin
			// anew
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

// replace answers otherwise than the server does.
func (w *responseFilter) replace(status int, body []byte) {
	w.cut()
	w.status = status
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/json")
	w.ResponseWriter.WriteHeader(status)
	w.ResponseWriter.Write(body)
}

// endWithin is how long a client may take to read what is being written to it when its stream ends,
// and why.
const endWithin = 2 * time.Second

// end lets nothing more out but why, to a request that waits for its answer, after the event that
// is being written; a client that does not read it is not waited for.
func (w *responseFilter) end(why string) {
	// one that has no deadline is no connection
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(endWithin))
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone && w.headed && w.id != nil && w.stream {
		w.between(message.Event(message.ErrorTo(w.id, &message.Fault{Code: message.CodeInternal, Message: why})))
	}
	w.gone, w.short = true, true
}

// look looks for a failure in what goes out, or in a message of it.
func (w *responseFilter) look(p []byte) {
	if w.failure != nil {
		_, _ = w.failure.Write(p) // it never fails
	}
}

// lookAt looks at a message of a stream by itself: one before it that could not be read says
// nothing of it.
func (w *responseFilter) lookAt(m []byte) {
	if w.failure == nil || w.failure.Why() != "" {
		return
	}
	*w.failure = message.Failure{}
	w.look(m)
}

// why says why a call failed, as far as its answer says so, or that this was cut; "": it did not.
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

// cut lets nothing more out.
func (w *responseFilter) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
}

// Flush implements http.Flusher: a stream's events go out one by one.
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

// SetReadDeadline and SetWriteDeadline let a server behind set the times of its streams
// (http.ResponseController).
func (w *responseFilter) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(t)
}

// SetWriteDeadline is the other of the two.
func (w *responseFilter) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}
