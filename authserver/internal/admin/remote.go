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

// ErrNoServer says that no server answers for a data directory.
var ErrNoServer = errors.New("no server answers for this data directory")

// ErrUnsaid says that a server was asked to do an act, and nothing was heard of it: it may have
// done it.
var ErrUnsaid = errors.New("the running server has not said whether it was done")

// maxAnswer bounds what a command reads, in bytes: more than what the largest file can be answered
// with.
const maxAnswer = 256 << 20

// patience is how long a command waits beside the time that the act may take: the server's answer
// says more than giving up here.
const patience = 10 * time.Second

// Remote does acts inside a running server, through its socket.
type Remote struct {
	// As is the name that the operator states; empty: none.
	As     string
	client *http.Client
}

// Reach finds the server that runs on a data directory, or answers ErrNoServer.
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
	_ = probe.Close() // it was only asked whether somebody is there
	return &Remote{client: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}, nil
}

// Act does the act inside the server; see Door.Act. Without an answer it is ErrUnsaid.
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
		return nil, fmt.Errorf("%w: %w", ErrUnsaid, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w: reading its answer: %w", ErrUnsaid, err)
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
			refusal.Err = ErrNoAct
		}
		return nil, refusal
	}
	return nil, errors.New(p.Error)
}
