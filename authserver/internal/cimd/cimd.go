// Package cimd finds clients by their metadata documents (OAuth Client ID Metadata Document): it
// fetches them with care, checks them, and caches them as long as they allow.
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

// For how long a document is cached by default, and at most.
const (
	defaultLifetime = 5 * time.Minute
	maxLifetime     = 24 * time.Hour
)

// maxKnown bounds the number of documents whose lifetimes are remembered; others are fetched
// again.
const maxKnown = 10_000

// Library finds clients by their metadata documents. It is called only after a person has signed
// in, so that no stranger can cause a fetch (SEP-991).
type Library struct {
	Store   client.Store
	Fetcher *Fetcher
	Limit   *ratelimit.Limiter // of fetches, by source
	Now     func() time.Time

	mu    sync.Mutex
	fresh map[string]time.Time // until when the stored document is valid
}

// Client returns the client of a document, which is fetched when it is unknown or no longer valid.
// What is wrong is an *oauth.Error that says nothing about the host of the URL.
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
		return client.Client{}, fmt.Errorf("load the client of a document: %w", err)
	}
	if ok, wait := l.Limit.Allow(ctx, httpd.Source(ctx)); !ok {
		return client.Client{}, oauth.TooManyRequests(wait)
	}
	body, lifetime, err := l.Fetcher.Fetch(ctx, id)
	if err != nil {
		httpd.Note(ctx, "error", err)
		if NoRoute(err) {
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
		return client.Client{}, fmt.Errorf("store the client of a document: %w", err)
	}
	l.keep(id, lifetime)
	return c, nil
}

func (l *Library) isFresh(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Now().Before(l.fresh[id])
}

func (l *Library) keep(id string, lifetime time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fresh == nil || len(l.fresh) >= maxKnown {
		l.fresh = map[string]time.Time{}
	}
	l.fresh[id] = l.Now().Add(lifetime)
}
