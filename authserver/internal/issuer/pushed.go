package issuer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Pushed authorization requests (RFC 9126): a client sends the parameters over its own connection,
// and the browser sends the request_uri alone.

// pushedLifetime is the lifetime of a request_uri (RFC 9126 section 2.2).
const pushedLifetime = 90 * time.Second

// pushedPrefix begins each request_uri. No URL that would have to be fetched begins like this.
const pushedPrefix = "urn:ietf:params:oauth:request_uri:"

// PushedBy is the parameter of a stored request that says that it was pushed, and how its client
// authenticated. In a request of a browser it is removed.
const PushedBy = "gatehouse_pushed_by"

func pushedKey(requestURI string) string { return "pushed:" + client.TokenHash(requestURI) }

// Push stores a request of an authenticated client, which is checked as if a browser had sent it,
// and returns its request_uri. A proof binds the code to its key (RFC 9449 section 10.1). The
// error is a *Refusal, an *oauth.Error or an internal one. What needs the client metadata document
// is checked after the sign-in, as without pushing.
func (e *Engine) Push(ctx context.Context, c client.Client, form url.Values, proof *dpop.Proof) (requestURI string,
	lifetime time.Duration, relaxed []string, err error) {
	if form.Has("request_uri") {
		// RFC 9126 section 2.1
		return "", 0, nil, oauth.InvalidRequest("request_uri cannot be pushed; send the parameters themselves")
	}
	form = maps.Clone(form)
	form.Set("client_id", c.ID)
	form.Set(PushedBy, c.AuthMethod)
	if proof != nil {
		if form.Has("dpop_jkt") && form.Get("dpop_jkt") != proof.JKT {
			return "", 0, nil,
				oauth.InvalidRequest("dpop_jkt is not the thumbprint of the key that the DPoP proof is of")
		}
		form.Set("dpop_jkt", proof.JKT)
	}
	if deferred, refused := e.Deferred(form); refused != nil {
		return "", 0, nil, refused
	} else if !deferred {
		a, err := e.Authorize(ctx, form)
		if err != nil {
			return "", 0, nil, err
		}
		relaxed = a.Relaxed
	}
	if err := e.useProof(ctx, httpd.Source(ctx), proof); err != nil {
		return "", 0, nil, err
	}
	value, err := json.Marshal(Remembered(form))
	if err != nil {
		return "", 0, nil, fmt.Errorf("store a pushed request: %w", err)
	}
	requestURI = newToken(pushedPrefix)
	if err := e.Pending.Put(ctx, httpd.Source(ctx), pushedKey(requestURI), value, pushedLifetime); err != nil {
		return "", 0, nil, fmt.Errorf("store a pushed request: %w", err)
	}
	return requestURI, pushedLifetime, relaxed, nil
}

// IsPushed reports whether a request has the request_uri of a pushed one.
func IsPushed(form url.Values) bool {
	return strings.HasPrefix(form.Get("request_uri"), pushedPrefix)
}

var errNotPushed = &Refusal{Err: &oauth.Error{Code: "invalid_request_uri", Status: http.StatusBadRequest,
	Description: "There is no request of this application by this name: it was used, or its 90 seconds have passed. " +
		"Start again from your application."}}

// Pushed returns the pushed request, once. No other parameter of the browser counts (RFC 9126
// section 4), and a request with the id of another client does not use it up. The error is a
// *Refusal or an internal one.
func (e *Engine) Pushed(ctx context.Context, form url.Values) (url.Values, error) {
	if len(form["request_uri"]) != 1 || len(form["client_id"]) != 1 {
		return nil, &Refusal{Err: oauth.InvalidRequest("client_id and request_uri must be given, exactly once")}
	}
	key := pushedKey(form.Get("request_uri"))
	value, there, err := e.Pending.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("load a pushed request: %w", err)
	}
	var pushed url.Values
	if !there || json.Unmarshal(value, &pushed) != nil || pushed.Get("client_id") != form.Get("client_id") {
		return nil, errNotPushed
	}
	if _, there, err = e.Pending.Take(ctx, key); err != nil {
		return nil, fmt.Errorf("take a pushed request: %w", err)
	} else if !there {
		return nil, errNotPushed
	}
	return pushed, nil
}
