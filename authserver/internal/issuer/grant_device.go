package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// deviceGrant is the grant type of device codes (RFC 8628 section 3.4). An approved device code is
// stored as an authorization code whose verifier is the device code itself.
type deviceGrant struct {
	codeGrant
	raw string // as presented
}

func (g *deviceGrant) load(ctx context.Context, x *exchange) error {
	g.raw = x.form.Get("device_code")
	if g.raw == "" {
		return oauth.InvalidRequest("device_code is missing; send the one that the device authorization endpoint gave")
	}
	code, stored, err := x.engine.Store.Code(ctx, client.TokenHash(g.raw))
	if errors.Is(err, ErrNotFound) {
		return x.engine.devicePending(ctx, x.client.ID, client.TokenHash(g.raw))
	}
	if err != nil {
		return fmt.Errorf("load device code: %w", err)
	}
	if code.ClientID != x.client.ID || code.RedirectURI != deviceRedirect {
		return oauth.InvalidGrant("the device_code is unknown, or was given to another client; begin again")
	}
	sum := sha256.Sum256([]byte(g.raw))
	code.Challenge = base64.RawURLEncoding.EncodeToString(sum[:]) // S256 of the device code (RFC 7636 section 4.2)
	x.grant = stored
	return g.present(ctx, x, code)
}

func (g *deviceGrant) authorize(ctx context.Context, x *exchange) error {
	if err := x.checkGrant(ctx); err != nil {
		return err
	}
	return g.checkExpiry(x)
}

func (g *deviceGrant) decide(ctx context.Context, x *exchange) error {
	return g.ask(ctx, x, deviceRedirect, g.raw)
}

// devicePending is the error for a device code that is not approved (RFC 8628 section 3.5).
func (e *Engine) devicePending(ctx context.Context, clientID, hash string) error {
	value, found, err := e.Pending.Get(ctx, deviceKey(hash))
	if err != nil {
		return fmt.Errorf("load device request: %w", err)
	}
	var d deviceRequest
	switch {
	case !found:
		return &oauth.Error{Code: "expired_token", Status: http.StatusBadRequest,
			Description: "the device_code is unknown or has expired; begin again"}
	case json.Unmarshal(value, &d) != nil || d.ClientID != clientID:
		return oauth.InvalidGrant("the device_code is unknown, or was given to another client; begin again")
	case d.Denied:
		return &oauth.Error{Code: "access_denied", Status: http.StatusBadRequest,
			Description: "the person denied the request; do not ask again by yourself"}
	}
	first, err := e.Pending.PutIfAbsent(ctx, httpd.Source(ctx), "device-poll:"+hash, []byte("1"),
		deviceInterval-time.Second)
	if err != nil {
		return fmt.Errorf("count a device's polling: %w", err)
	}
	if !first {
		return &oauth.Error{Code: "slow_down", Status: http.StatusBadRequest,
			Description: "ask every five seconds at most"}
	}
	return &oauth.Error{Code: "authorization_pending", Status: http.StatusBadRequest,
		Description: "the person has not decided yet; ask again in five seconds"}
}
