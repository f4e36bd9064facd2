package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// The bounds of most operations: bytes of arguments, and time.
const (
	maxBody = 64 << 10
	actTime = 20 * time.Second
)

// MaxBody and MaxTime are the bounds of any operation; the API bounds each itself.
const (
	MaxBody = maxApply
	MaxTime = applyTime
)

// bounds returns those of an operation.
func bounds(name string) (body int64, most time.Duration) {
	if name == "apply" || name == "apply.plan" {
		return maxApply, applyTime
	}
	return maxBody, actTime
}

// writeTime bounds how long a response may take to be written, after the operation.
const writeTime = 30 * time.Second

// problem is the form of an error on the socket.
type problem struct {
	Refused bool   `json:"refused"` // the operator can correct it
	NoAct   bool   `json:"no_act,omitempty"`
	Error   string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

// Handler serves the operations: POST /acts/NAME with JSON arguments. Serve it only on a socket
// that the operator alone can open: it authenticates no one, and returns internal errors. Audit
// records name the local user at the other end of a socket of Listen, and the name that they
// stated.
func (d *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /acts/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := d.serve(w, r)
		if err != nil {
			p := problem{Error: err.Error()}
			var refusal *Refusal
			if errors.As(err, &refusal) {
				p = problem{Refused: true, NoAct: errors.Is(err, ErrUnknownOperation), Error: refusal.Reason,
					Hint: refusal.Hint}
			}
			write(w, http.StatusUnprocessableEntity, p)
			return
		}
		write(w, http.StatusOK, answer)
	})
	return mux
}

func (d *API) serve(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
	name := r.PathValue("name")
	body, most := bounds(name)
	arguments, err := io.ReadAll(http.MaxBytesReader(w, r.Body, body))
	if err != nil {
		return nil, refuse("", "the act's arguments cannot be read: %v", err)
	}
	if most > actTime {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(most + writeTime)); err != nil {
			return nil, fmt.Errorf("giving the act its time: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(named(r), most)
	defer cancel()
	return d.Act(ctx, name, arguments)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the peer is gone
}
