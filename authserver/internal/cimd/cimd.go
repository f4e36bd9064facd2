// Package cimd owns clients that are known by a document of theirs (OAuth Client ID Metadata
// Document): fetched with every caution, held against the rules, and kept for as long as the
// document allows.
package cimd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
)

// How long a document is taken for true without being read again, when it says nothing, and at
// most.
const (
	usualLife = 5 * time.Minute
	mostLife  = 24 * time.Hour
)

// mostKnown bounds how many documents' lives are remembered; beyond it they are read again.
const mostKnown = 10_000

// Library finds clients by their documents. It is asked only for people who have signed in, so that
// no stranger makes us fetch (SEP-991).
type Library struct {
	Store   client.Store
	Fetcher *Fetcher
	Limit   *ratelimit.Limiter // of fetches, by where they come from
	Now     func() time.Time

	mu    sync.Mutex
	fresh map[string]time.Time // until when what is stored need not be read again
}

// Client returns the client of a document, which is read when it is not known or has outlived what
// it allowed. What is wrong is an *oauth.Error that says nothing about where the address leads.
func (l *Library) Client(ctx context.Context, id string) (client.Client, error) {
	if err := client.CheckDocumentURL(id); err != nil {
		return client.Client{}, &oauth.Error{Code: "invalid_client", Status: http.StatusBadRequest,
			Description: "tell the makers of the application that this client_id cannot name a document: " +
				err.Error()}
	}
	if l.isFresh(id) {
		c, err := l.Store.Client(ctx, id)
		if err == nil || !errors.Is(err, client.ErrNotFound) {
			return c, err
		}
	}
	switch c, err := l.Store.RegisteredClient(ctx, id); {
	case err == nil && !c.DisabledAt.IsZero():
		return client.Client{}, client.ErrDisabled
	case err != nil && !errors.Is(err, client.ErrNotFound):
		return client.Client{}, fmt.Errorf("reading the client of a document: %w", err)
	}
	if ok, wait := l.Limit.Allow(ctx, httpd.Source(ctx)); !ok {
		return client.Client{}, oauth.TooManyRequests(wait)
	}
	body, life, err := l.Fetcher.Fetch(ctx, id)
	if err != nil {
		httpd.Note(ctx, "error", err)
		if NoWayOut(err) {
			return client.Client{}, &oauth.Error{
				Code: "temporarily_unavailable", Status: http.StatusServiceUnavailable, Wait: time.Minute,
				Description: "this server has no way out to the internet, so that it cannot read the document at the " +
					"client_id; tell the people who run it",
			}
		}
		return client.Client{}, &oauth.Error{Code: "invalid_client", Status: http.StatusBadRequest,
			Description: "the document at the client_id could not be read; tell the application's makers, or try " +
				"again later"}
	}
	c, err := client.FromDocument(id, body, l.Now())
	if err != nil {
		return client.Client{}, err
	}
	err = l.Store.PutDocument(ctx, c)
	if errors.Is(err, client.ErrDisabled) {
		return client.Client{}, client.ErrDisabled
	}
	if err != nil {
		return client.Client{}, fmt.Errorf("keeping the client of a document: %w", err)
	}
	l.keep(id, life)
	return c, nil
}

func (l *Library) isFresh(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Now().Before(l.fresh[id])
}

func (l *Library) keep(id string, life time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fresh == nil || len(l.fresh) >= mostKnown {
		l.fresh = map[string]time.Time{}
	}
	l.fresh[id] = l.Now().Add(life)
}
