package authserver

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/oauthapi"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Resource is a protected MCP server whose tokens the issuer signs; see issuer.Resource.
type Resource = issuer.Resource

// Scope is a scope of a resource; see issuer.Scope.
type Scope = issuer.Scope

// The values of Scope.Access.
const (
	AccessRead  = issuer.AccessRead
	AccessWrite = issuer.AccessWrite
)

// Config is the configuration. Zero fields get the default that their comment names.
type Config struct {
	// Issuer is the issuer identifier (RFC 8414 §2): an https URL without path, query, fragment or
	// trailing slash; http is for loopback hosts only, unless InsecureHTTP. It is in every token,
	// byte for byte, and never changes. Required.
	Issuer string
	// Database keeps everything that must not be lost: "sqlite:PATH" or "postgres://…". Required.
	Database string
	// Redis is short memory that several replicas share: "redis://…" or "rediss://…". Empty means
	// memory of this process, which is right for one replica only.
	Redis config.Secret
	// RedisPrefix begins every key in Redis. Default "gatehouse:".
	RedisPrefix string
	// KeyEncryptionKey seals the signing keys in the database: 32 random bytes in base64. With it
	// and the database anyone can sign tokens. Required.
	KeyEncryptionKey config.Secret
	// PreviousKeyEncryptionKey is the previous key, or several, comma-separated, while anything is
	// still sealed under it (see gatehouse key reseal). Default none.
	PreviousKeyEncryptionKey config.Secret
	// KeyRotationInterval is how long a signing key signs before the next one replaces it. Default
	// 90 days, at least 1 hour; negative: never.
	KeyRotationInterval time.Duration
	// Resources are the protected servers; the first is used when a client names none. At least
	// one.
	Resources []Resource
	// AccessTokenLifetime is the lifetime of access tokens of resources that set none. Default 10
	// minutes, at most 1 hour.
	AccessTokenLifetime time.Duration
	// AuthorizationCodeLifetime is the lifetime of an authorization code. Default 60 seconds.
	AuthorizationCodeLifetime time.Duration
	// RefreshTokenIdleTimeout is how long an unused refresh token is valid. Default 14 days.
	RefreshTokenIdleTimeout time.Duration
	// RefreshTokenLifetime is how long after the authorization a grant can be refreshed. Default 90
	// days.
	RefreshTokenLifetime time.Duration
	// ReplayWindow is how long a used refresh token returns the same successor again while the
	// successor has not been used, because the response may have been lost. A stolen refresh token
	// can be used unnoticed for as long. Default 30 seconds; negative means none.
	ReplayWindow time.Duration
	// SessionLifetime is how long a person stays signed in. Default 8 hours.
	SessionLifetime time.Duration
	// Registration says who may register a client at /oauth2/register: "open" (anyone; machine
	// clients with a tenant's initial access token), "token" (with an initial access token) or
	// "closed". Default open.
	Registration string
	// MaxClients bounds the clients that registered themselves: beyond it those are deleted first
	// that no person ever allowed. Default 100,000.
	MaxClients int64
	// ClientIdleTimeout is how long an unused client that registered itself is kept. One that no
	// person ever allowed is deleted after an hour. Default 90 days.
	ClientIdleTimeout time.Duration
	// AuditRetention is how long audit records are kept. Default 400 days, at least a day; negative
	// means forever.
	AuditRetention time.Duration
	// RegistrationsPerHour bounds client registrations from one address. Default 300: agents in a
	// cloud share one.
	RegistrationsPerHour int64
	// AuthorizationsPerMinute bounds authorization, device and pushed requests from one address.
	// Default 300.
	AuthorizationsPerMinute int64
	// IntrospectionsPerMinute bounds the introspections of one client. Default 6,000.
	IntrospectionsPerMinute int64
	// SignInsPerAddress bounds the wrong passwords from one address in five minutes, whichever
	// accounts they are for; a tenth of them, rounded up, may be for one account. What has signed
	// in before, a browser or an address, has a tenth of its own. Default 100.
	SignInsPerAddress int64
	// SignInsPerAccount bounds the wrong passwords for one account in an hour, from wherever they
	// come. Default 300.
	SignInsPerAccount int64
	// MaxInFlight bounds the requests that are served at once, at each replica. Refreshing,
	// revoking and introspecting tokens and reading the list of revoked grants may use all of it,
	// other requests a quarter. A request that waits for half a second gets 503 with Retry-After.
	// Default 64.
	MaxInFlight int64
	// RefuseClientMetadataDocuments rejects clients whose client_id is the URL of a client metadata
	// document, so that nothing is fetched from addresses that clients name. Default: they are
	// accepted.
	RefuseClientMetadataDocuments bool
	// InsecureClientMetadataDocumentHosts are hosts whose client metadata documents may be at
	// private addresses: for development. Default none.
	InsecureClientMetadataDocumentHosts []string
	// DPoPNonce says whether DPoP proofs must have a nonce: "required" or "optional". Default
	// optional: one is offered, and must be good when it comes.
	DPoPNonce string
	// DPoPWindow is how far the iat of a DPoP proof may be from now. Default 5 minutes, and not
	// more.
	DPoPWindow time.Duration
	// TrustedProxies are the addresses whose X-Forwarded-For is trusted. Default none.
	TrustedProxies []netip.Prefix
	// Hosts are values of the Host header, beside the issuer's own, for which pages and forms are
	// served, for a proxy that changes the header. Metadata, keys and the endpoints for programs,
	// which read no cookies, accept any. Default none.
	Hosts []string
	// InsecureHTTP allows an http issuer that is not on a loopback host: then anyone on the way can
	// read tokens and passwords.
	InsecureHTTP bool
}

// resolved is the Config with defaults filled in, checked and parsed.
type resolved struct {
	Config
	keks  [][]byte // the key-encryption key, and the previous ones
	https bool
	hosts httpd.Hosts // for which pages are served
}

// Check returns what is wrong with the configuration, and opens nothing.
func (c Config) Check() error {
	_, err := c.resolve(false)
	return err
}

// InsecureSettings returns the insecure options that are on.
func (c Config) InsecureSettings() []config.InsecureSetting {
	return config.EnabledSettings(map[config.InsecureSetting]bool{
		{Setting: "insecure-http", Risk: "http URLs off this machine are allowed: anyone on the way can read tokens " +
			"and passwords"}: c.InsecureHTTP,
		{Setting: "insecure-client-metadata-document-hosts",
			Risk: "client metadata documents of these hosts are fetched from any address: " +
				strings.Join(c.InsecureClientMetadataDocumentHosts, " ")}: len(
			c.InsecureClientMetadataDocumentHosts) > 0,
	})
}

// resolve fills in and checks. The error names the field and what to do. sealed says that the
// sealing keys come from Deps.
func (c Config) resolve(sealed bool) (resolved, error) {
	defaults(&c)
	r := resolved{Config: c}
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil:
		return r, fmt.Errorf("issuer %q is not an http(s) URL; give it as https://auth.example.com", c.Issuer)
	case oauth.CheckPlain(c.Issuer) != nil:
		return r, fmt.Errorf("issuer %q %w", c.Issuer, oauth.CheckPlain(c.Issuer))
	case c.Issuer != u.Scheme+"://"+u.Host:
		return r, fmt.Errorf("issuer %q must have no path, query, fragment or trailing slash", c.Issuer)
	case !issuer.PlainURL(c.Issuer):
		return r, fmt.Errorf("issuer %q has a character that a client's shell or page could take for its own; use "+
			"letters, digits, dots and hyphens", c.Issuer)
	case u.Scheme == "http" && !config.ThisMachine(u.Hostname()) && !c.InsecureHTTP:
		return r, fmt.Errorf("issuer %q is plain http on a host that is not this machine; use https", c.Issuer)
	}
	if !slices.Contains([]string{oauthapi.RegistrationOpen, oauthapi.RegistrationToken, oauthapi.RegistrationClosed},
		c.Registration) {
		return r, fmt.Errorf("registration %q is not open, token or closed", c.Registration)
	}
	if c.DPoPNonce != dpop.NonceRequired && c.DPoPNonce != dpop.NonceOptional {
		return r, fmt.Errorf("dpop-nonce is %q, expected %s or %s", c.DPoPNonce, dpop.NonceRequired, dpop.NonceOptional)
	}
	if err := dpop.CheckWindow(c.DPoPWindow); err != nil {
		return r, err
	}
	if err := c.checkFlags(); err != nil {
		return r, err
	}
	r.hosts = httpd.HostsOf(u)
	for _, host := range c.Hosts {
		if named, err := url.Parse("//" + host); err != nil || named.Host != host || strings.ContainsAny(host, "*@") {
			return r, fmt.Errorf("issuer host %q is not a host with or without a port, such as auth.internal:8080",
				host)
		}
		maps.Copy(r.hosts, httpd.NewHosts(host))
	}
	r.https = u.Scheme == "https"
	if c.Database == "" {
		return r, errors.New("database is not set; give sqlite:PATH or postgres://…")
	}
	if !sealed {
		if err := r.resolveKeys(); err != nil {
			return r, err
		}
	}
	return r, r.resolveResources()
}

// resolveKeys reads the key-encryption keys.
func (r *resolved) resolveKeys() error {
	for _, text := range append([]string{r.KeyEncryptionKey.Reveal()},
		config.List(r.PreviousKeyEncryptionKey.Reveal())...) {
		name := "key-encryption-key"
		if len(r.keks) > 0 {
			name = "previous-key-encryption-key"
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != keyring.KeySize {
			return errors.New(name + " is not 32 bytes in base64; make one with: head -c 32 /dev/urandom | base64")
		}
		r.keks = append(r.keks, key)
	}
	return nil
}

func defaults(c *Config) {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.AccessTokenLifetime, 10 * time.Minute}, {&c.AuthorizationCodeLifetime, time.Minute},
		{&c.RefreshTokenIdleTimeout, 14 * 24 * time.Hour},
		{&c.RefreshTokenLifetime, 90 * 24 * time.Hour}, {&c.ReplayWindow, 30 * time.Second},
		{&c.SessionLifetime, 8 * time.Hour},
		{&c.DPoPWindow, dpop.Window},
		{&c.ClientIdleTimeout, 90 * 24 * time.Hour}, {&c.KeyRotationInterval, 90 * 24 * time.Hour},
		{&c.AuditRetention, 400 * 24 * time.Hour},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.DPoPNonce == "" {
		c.DPoPNonce = dpop.NonceOptional
	}
	if c.RedisPrefix == "" {
		c.RedisPrefix = "gatehouse:"
	}
	if c.Registration == "" {
		c.Registration = oauthapi.RegistrationOpen
	}
	for _, d := range []struct {
		field *int64
		value int64
	}{
		{&c.MaxClients, 100_000}, {&c.RegistrationsPerHour, 300}, {&c.AuthorizationsPerMinute, 300},
		{&c.IntrospectionsPerMinute, 6000},
		{&c.SignInsPerAddress, 100}, {&c.SignInsPerAccount, 300}, {&c.MaxInFlight, 64},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

func (r *resolved) resolveResources() error {
	if len(r.Resources) == 0 {
		return errors.New("there is no resource; name the MCP server that tokens are for")
	}
	resources := make([]Resource, 0, len(r.Resources))
	for _, res := range r.Resources {
		res, err := res.Check(r.AccessTokenLifetime)
		if err != nil {
			return err
		}
		if res.URI == r.Issuer {
			return fmt.Errorf("resource %q is the issuer itself; give the server an address of its own, such as %s/mcp",
				res.URI, r.Issuer)
		}
		resources = append(resources, res)
	}
	r.Resources = resources
	return nil
}

// remembrance is how long a revoked grant stays on the list, and a superseded key in the key set:
// the longest lifetime of any token, the leeway of clocks, and a minute for replicas that are
// slightly behind.
const remembrance = issuer.MaxAccessTokenLifetime + issuer.Leeway + time.Minute

// pastKeys is how long an expired key is still kept: an old ID token still identifies a person at
// logout.
const pastKeys = 30 * 24 * time.Hour

// keeping returns how long expired things are kept.
func (r *resolved) keeping() job.Keeping {
	return job.Keeping{Clients: r.ClientIdleTimeout, Keys: remembrance + max(pastKeys, r.SessionLifetime),
		Audit: r.AuditRetention}
}
