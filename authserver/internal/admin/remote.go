package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"
)

// ErrNoServer says that no server runs on a data directory.
var ErrNoServer = errors.New("no server answers for this data directory")

// ErrNoAnswer says that a server was asked for an operation and did not answer: it may have done
// it.
var ErrNoAnswer = errors.New("the running server has not said whether it was done")

// maxAnswer bounds a response in bytes: more than that for the largest manifest.
const maxAnswer = 256 << 20

// patience is how long a command waits beyond the operation's own bound, because the server's
// answer is more precise.
const patience = 10 * time.Second

// Remote runs operations inside a running server, through its socket.
type Remote struct {
	// As is the name that the operator states; empty: none.
	As     string
	client *http.Client
}

// Reach finds the server that runs on a data directory, or returns ErrNoServer.
func Reach(ctx context.Context, dir string) (*Remote, error) {
	path, err := address(dir)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	probe, err := dial(ctx, "", "")
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoServer
	}
	if err != nil {
		return nil, fmt.Errorf("reaching the running server: %w", err)
	}
	_ = probe.Close() // only checks that a server listens
	return &Remote{client: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}, nil
}

// Act runs the operation inside the server; see API.Act. It returns ErrNoAnswer when there was
// none.
func (r *Remote) Act(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	_, most := bounds(name)
	ctx, cancel := context.WithTimeout(ctx, most+patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://operator/acts/"+name,
		bytes.NewReader(arguments))
	if err != nil {
		return nil, fmt.Errorf("asking the running server: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if r.As != "" {
		request.Header.Set(asHeader, r.As)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w: reading its answer: %w", ErrNoAnswer, err)
	}
	if response.StatusCode == http.StatusOK {
		return body, nil
	}
	var p problem
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, fmt.Errorf("the running server answered %s", response.Status)
	}
	if p.Refused {
		refusal := &Refusal{Reason: p.Error, Hint: p.Hint}
		if p.NoAct {
			refusal.Err = ErrUnknownOperation
		}
		return nil, refusal
	}
	return nil, errors.New(p.Error)
}
