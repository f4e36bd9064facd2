package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// maxBody bounds an act's arguments, in bytes.
const maxBody = 64 << 10

// problem is how an error crosses the socket.
type problem struct {
	Refused bool   `json:"refused"` // the operator can mend it
	NoAct   bool   `json:"no_act,omitempty"`
	Error   string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

// Handler serves the acts: POST /acts/NAME with the arguments as JSON. It asks nobody who they are: it belongs on a socket that only the
// operator can reach. Errors are shown as they are, for the same reason.
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
	arguments, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, refuse("", "the act's arguments cannot be read: %v", err)
	}
	return d.Act(r.Context(), r.PathValue("name"), arguments)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a peer that went away has nobody left to tell
}
