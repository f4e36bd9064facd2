package issuer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// The device authorization grant (RFC 8628): a program without a browser shows a short code, and a
// person types it on a page of ours.
//
// A request waits in Settings.Pending until a person has decided. An approved one is stored as an
// authorization code under the hash of the device code: its verifier is the device code itself, and
// no authorization request can have its redirect URI.

// The lifetime of a device code, and the time between two polls.
const (
	deviceLifetime = 10 * time.Minute
	deviceInterval = 5 * time.Second
)

// deviceRedirect is the redirect URI of a code that a device redeems. No client can register it.
const deviceRedirect = "urn:gatehouse:device"

const devicePrefix = "ghd_"

// userLetters are the letters of a user code: no vowels, so that it spells no word, and none that
// look alike (RFC 8628 section 6.1). 8 of 20 letters are 34 bits.
const userLetters = "BCDFGHJKLMNPQRSTVWXZ"

// Device is a device authorization response (RFC 8628 section 3.2).
type Device struct {
	DeviceCode, UserCode string
	ExpiresIn, Interval  time.Duration
}

// deviceRequest is a request that waits for a decision or was denied.
type deviceRequest struct {
	Hash     string // of the device code
	ClientID string
	Resource string
	Scopes   []string
	Denied   bool
}

func deviceKey(hash string) string { return "device:" + hash }

func userKey(userCode string) string { return "user-code:" + client.TokenHash(userCode) }

// NormalizeUserCode returns a user code in its stored form, however it was typed, or "" if it
// cannot be one.
func NormalizeUserCode(typed string) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(typed) {
		if strings.ContainsRune(userLetters, r) {
			b.WriteRune(r)
		} else if !strings.ContainsRune(" -\t", r) {
			return ""
		}
	}
	if b.Len() != 8 {
		return ""
	}
	return b.String()[:4] + "-" + b.String()[4:]
}

// AuthorizeDevice begins a device request of an authenticated client (RFC 8628 section 3.1).
func (e *Engine) AuthorizeDevice(ctx context.Context, c client.Client, form url.Values) (Device, error) {
	if !slices.Contains(c.GrantTypes, client.GrantDevice) {
		return Device{},
			oauth.UnauthorizedClient("this client is not registered for the grant type " + client.GrantDevice)
	}
	a := &Authorization{Client: c, Form: form}
	if err := a.setScopes(e); err != nil {
		return Device{}, err
	}
	if err := e.checkTenant(ctx, c); err != nil {
		return Device{}, err
	}
	source := httpd.Source(ctx)
	d := Device{DeviceCode: newToken(devicePrefix), UserCode: newUserCode(), ExpiresIn: deviceLifetime,
		Interval: deviceInterval}
	value, err := json.Marshal(deviceRequest{Hash: client.TokenHash(d.DeviceCode), ClientID: c.ID,
		Resource: a.Resource.URI, Scopes: a.Scopes})
	if err != nil {
		return Device{}, fmt.Errorf("keeping a device request: %w", err)
	}
	if err := e.Pending.Put(ctx, source, deviceKey(client.TokenHash(d.DeviceCode)), value, deviceLifetime); err != nil {
		return Device{}, fmt.Errorf("keeping a device request: %w", err)
	}
	free, err := e.Pending.PutIfAbsent(ctx, source, userKey(d.UserCode), value, deviceLifetime)
	if err != nil {
		return Device{}, fmt.Errorf("keeping a user code: %w", err)
	}
	if !free {
		return Device{}, oauth.TemporarilyUnavailable() // the code is in use: the next try gets another
	}
	return d, nil
}

func newUserCode() string {
	var b strings.Builder
	for b.Len() < 8 {
		var one [1]byte
		rand.Read(one[:])
		if int(one[0]) < 240 { // 12 × 20: all letters are equally likely
			b.WriteByte(userLetters[int(one[0])%len(userLetters)])
		}
	}
	return b.String()[:4] + "-" + b.String()[4:]
}

// errNoDevice is the error for an unknown user code.
var errNoDevice = &oauth.Error{Code: "invalid_request", Status: http.StatusBadRequest,
	Description: "There is no device waiting with this code. Check it, or have the device show a new one: a code is " +
		"good for ten minutes, and once."}

// DeviceRequest returns the request of a user code, as far as a person may see it.
func (e *Engine) DeviceRequest(ctx context.Context, userCode string) (*Authorization, error) {
	value, there, err := e.Pending.Get(ctx, userKey(userCode))
	if err != nil {
		return nil, fmt.Errorf("reading a device request: %w", err)
	}
	if !there {
		return nil, errNoDevice
	}
	a, _, err := e.device(ctx, value)
	return a, err
}

func (e *Engine) device(ctx context.Context, value []byte) (*Authorization, deviceRequest, error) {
	var d deviceRequest
	if err := json.Unmarshal(value, &d); err != nil {
		return nil, d, fmt.Errorf("reading a device request: %w", err)
	}
	c, err := e.Clients.Client(ctx, d.ClientID)
	resource, served := e.Resource(d.Resource)
	if errors.Is(err, client.ErrNotFound) || err == nil && !served {
		return nil, d, errNoDevice
	}
	if err != nil {
		return nil, d, fmt.Errorf("reading a client: %w", err)
	}
	return &Authorization{Client: c, Resource: resource, Scopes: d.Scopes}, d, nil
}

// DecideDevice records the decision of a person, once; nil denies. A scope that was not offered is
// an error, and then nothing is decided.
func (e *Engine) DecideDevice(ctx context.Context, userCode string, who SignedIn, consent *Consent) error {
	a, err := e.DeviceRequest(ctx, userCode)
	if err != nil {
		return err
	}
	var granted []string
	if consent != nil {
		offered, err := e.offered(ctx, a, *consent)
		if err != nil {
			return err
		}
		if !a.grantsAny(consent.Scopes) {
			return ErrNothingAllowed
		}
		if !oauth.Subset(consent.Scopes, offered) {
			return oauth.InvalidRequest("A scope was ticked that was not offered. Go back, load the page again and " +
				"repeat it.")
		}
		granted = oauth.Intersect(offered, consent.Scopes)
	}
	value, there, err := e.Pending.Take(ctx, userKey(userCode))
	if err != nil {
		return fmt.Errorf("deciding a device request: %w", err)
	}
	if !there {
		return errNoDevice
	}
	if a, d, err := e.device(ctx, value); err != nil {
		return err
	} else if consent == nil {
		return e.denyDevice(ctx, who, d)
	} else {
		return e.approveDevice(ctx, a, d, *consent, granted)
	}
}

func (e *Engine) denyDevice(ctx context.Context, who SignedIn, d deviceRequest) error {
	if err := e.recordDenial(ctx, who, d.ClientID, d.Resource, d.Scopes); err != nil {
		return err
	}
	d.Denied = true
	value, err := json.Marshal(d)
	if err == nil {
		err = e.Pending.Put(ctx, httpd.Source(ctx), deviceKey(d.Hash), value, deviceLifetime)
	}
	if err != nil {
		return fmt.Errorf("denying a device request: %w", err)
	}
	return nil
}

func (e *Engine) approveDevice(ctx context.Context, a *Authorization, d deviceRequest, c Consent,
	granted []string) error {
	now := e.now()
	g := a.grant(c, granted, now)
	code := Code{Hash: d.Hash, GrantID: g.ID, ClientID: a.Client.ID, RedirectURI: deviceRedirect,
		Challenge: deviceRedirect, CreatedAt: now, ExpiresAt: now.Add(deviceLifetime)}
	return e.storeCode(ctx, g, code, " (device)")
}
