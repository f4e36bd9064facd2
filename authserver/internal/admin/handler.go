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

// What most acts may bring, in bytes, and how long they may take.
const (
	maxBody = 64 << 10
	actTime = 20 * time.Second
)

// MaxBody and MaxTime are the most that any act may bring, and how long it may take; the door
// bounds each itself.
const (
	MaxBody = maxApply
	MaxTime = applyTime
)

// bounds are those of the act of this name.
func bounds(name string) (body int64, most time.Duration) {
	if name == "apply" || name == "apply.plan" {
		return maxApply, applyTime
	}
	return maxBody, actTime
}

// writeTime is how long an answer may take to be written, beside the time of the act.
const writeTime = 30 * time.Second

// problem is how an error crosses the socket.
type problem struct {
	Refused bool   `json:"refused"` // the operator can mend it
	NoAct   bool   `json:"no_act,omitempty"`
	Error   string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

// Handler serves the acts: POST /acts/NAME with the arguments as JSON. It belongs on a socket that
// only the operator can reach: it asks nobody for a proof, and shows errors as they are. Audit
// lines name the local user at the other end of the socket of Listen, and the name that they
// stated.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /acts/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := d.serve(w, r)
		if err != nil {
			p := problem{Error: err.Error()}
			var refusal *Refusal
			if errors.As(err, &refusal) {
				p = problem{Refused: true, NoAct: errors.Is(err, ErrNoAct), Error: refusal.Reason, Hint: refusal.Hint}
			}
			write(w, http.StatusUnprocessableEntity, p)
			return
		}
		write(w, http.StatusOK, answer)
	})
	return mux
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
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
	_ = json.NewEncoder(w).Encode(v) // a peer that went away has nobody left to tell
}
