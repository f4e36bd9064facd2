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
// and the browser carries nothing but their name.

// pushedLifetime is how long a pushed request waits for its browser (RFC 9126 §2.2: short).
const pushedLifetime = 90 * time.Second

// pushedPrefix begins the name of a pushed request. An address that somebody would have to fetch
// never begins so.
const pushedPrefix = "urn:ietf:params:oauth:request_uri:"

// PushedBy is the member of a kept request by which we remember that it was pushed, and how its
// client proved who it is then. What a browser says there does not count: the door takes it away.
const PushedBy = "gatehouse_pushed_by"

func pushedKey(requestURI string) string { return "pushed:" + client.TokenHash(requestURI) }

// Push keeps a request of a client that the door has authenticated, checked as if a browser had
// brought it, and names it. A proof binds the code that comes of it to its key (RFC 9449 §10.1).
// The error is a *Refusal, an *oauth.Error or an inner one. What a document must be read for is
// checked when a person has signed in, as without pushing.
func (e *Engine) Push(ctx context.Context, c client.Client, form url.Values, proof *dpop.Proof) (requestURI string,
	life time.Duration, relaxed []string, err error) {
	if form.Has("request_uri") {
		// RFC 9126 §2.1
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
		return "", 0, nil, fmt.Errorf("keeping a pushed request: %w", err)
	}
	requestURI = newToken(pushedPrefix)
	if err := e.Pending.Put(ctx, httpd.Source(ctx), pushedKey(requestURI), value, pushedLifetime); err != nil {
		return "", 0, nil, fmt.Errorf("keeping a pushed request: %w", err)
	}
	return requestURI, pushedLifetime, relaxed, nil
}

// IsPushed says whether a request names one that was pushed.
func IsPushed(form url.Values) bool {
	return strings.HasPrefix(form.Get("request_uri"), pushedPrefix)
}

var errNotPushed = &Refusal{Err: &oauth.Error{Code: "invalid_request_uri", Status: http.StatusBadRequest,
	Description: "There is no request of this application by this name: it was used, or its 90 seconds are over. " +
		"Start again from your application."}}

// Pushed is the request that was pushed, once. Nothing of what the browser brought beside its name
// counts (RFC 9126 §4), and another client's id neither opens nor uses it up. The error is a
// *Refusal, or an inner one.
func (e *Engine) Pushed(ctx context.Context, form url.Values) (url.Values, error) {
	if len(form["request_uri"]) != 1 || len(form["client_id"]) != 1 {
		return nil, &Refusal{Err: oauth.InvalidRequest("client_id and request_uri must be given, exactly once")}
	}
	key := pushedKey(form.Get("request_uri"))
	value, there, err := e.Pending.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading a pushed request: %w", err)
	}
	var pushed url.Values
	if !there || json.Unmarshal(value, &pushed) != nil || pushed.Get("client_id") != form.Get("client_id") {
		return nil, errNotPushed
	}
	if _, there, err = e.Pending.Take(ctx, key); err != nil {
		return nil, fmt.Errorf("taking a pushed request: %w", err)
	} else if !there {
		return nil, errNotPushed
	}
	return pushed, nil
}
