package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	settings "github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// ErrNoResource says that the store has no resource of this URI.
var ErrNoResource = errors.New("no such resource")

// ResourceStore stores the resources that are not in the configuration.
type ResourceStore interface {
	// ResourcesRevision counts the changes of the stored resources.
	ResourcesRevision(ctx context.Context) (int64, error)
	// Resources returns the stored resources, the oldest first.
	Resources(ctx context.Context) ([]Resource, error)
	// PutResource creates or replaces a resource, with its audit event.
	PutResource(ctx context.Context, r Resource, e audit.Event) error
	// DeleteResource deletes a resource, with its audit event, or returns ErrNoResource.
	DeleteResource(ctx context.Context, uri string, e audit.Event) error
}

// Resources are those whose tokens are issued: first those of the configuration, whose first is
// the default one, then those of the store. It is safe for concurrent use.
type Resources struct {
	fixed    []Resource
	store    ResourceStore
	lifetime time.Duration // default lifetime of access tokens
	plain    bool          // plain http off this machine is allowed

	reading sync.Mutex
	last    atomic.Pointer[kept]
}

// kept is what was read last; all is never changed.
type kept struct {
	revision int64
	all      []Resource
}

// NewResources returns the resources of the configuration, which are checked already; Refresh adds
// those of the store. lifetime is the default lifetime of access tokens. insecureHTTP allows stored
// resources at plain http URLs off this machine.
func NewResources(fixed []Resource, store ResourceStore, lifetime time.Duration, insecureHTTP bool) *Resources {
	r := &Resources{fixed: fixed, store: store, lifetime: lifetime, plain: insecureHTTP}
	r.last.Store(&kept{revision: -1, all: fixed})
	return r
}

// All returns the resources as they were read last. Do not change the slice.
func (r *Resources) All() []Resource { return r.last.Load().all }

// Fixed reports whether a resource is one of the configuration, where alone it can be changed.
func (r *Resources) Fixed(uri string) bool {
	return slices.ContainsFunc(r.fixed, func(f Resource) bool { return f.URI == uri })
}

// Algorithms are the signature algorithms of the resources, each once.
func (r *Resources) Algorithms() (all []string) {
	for _, resource := range r.All() {
		if !slices.Contains(all, resource.Algorithm) {
			all = append(all, resource.Algorithm)
		}
	}
	return all
}

// IsInsecure reports whether tokens for a resource would be sent over plain http off this machine
// although that is not allowed.
func (r *Resources) IsInsecure(uri string) bool {
	u, err := url.Parse(uri)
	return err != nil || u.Scheme == "http" && !settings.ThisMachine(u.Hostname()) && !r.plain
}

// DefaultLifetime is the lifetime of access tokens of resources that have none of their own.
func (r *Resources) DefaultLifetime() time.Duration { return r.lifetime }

// Refresh reads the store if it has changed, and reports whether it had. A stored resource that is
// not valid any more (another program wrote it) is left out, with an error that names it.
func (r *Resources) Refresh(ctx context.Context) (changed bool, err error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	revision, err := r.store.ResourcesRevision(ctx)
	if err != nil {
		return false, fmt.Errorf("load the resources' revision: %w", err)
	}
	if revision == r.last.Load().revision {
		return false, nil
	}
	stored, err := r.store.Resources(ctx)
	if err != nil {
		return false, fmt.Errorf("load resources: %w", err)
	}
	all, err := r.with(stored)
	r.last.Store(&kept{revision, all})
	return true, err
}

// with returns the resources of the configuration and these of the store. Invalid ones are left
// out, with an error that names them.
func (r *Resources) with(stored []Resource) ([]Resource, error) {
	all := slices.Clone(r.fixed)
	var errs []error
	for _, s := range stored {
		checked, err := s.Check(r.lifetime)
		if err == nil && r.IsInsecure(s.URI) {
			err = fmt.Errorf("the resource %s is plain http on a host that is not this machine: start with "+
				"insecure-http, or remove it", s.URI)
		}
		if err != nil {
			errs = append(errs, err)
		} else if !r.Fixed(s.URI) {
			all = append(all, checked)
		}
	}
	return all, errors.Join(errs...)
}

// With returns the resources as they would be if the store had these.
func (r *Resources) With(stored []Resource) *Resources {
	all, _ := r.with(stored) // they are checked before they are stored
	next := NewResources(r.fixed, r.store, r.lifetime, r.plain)
	next.last.Store(&kept{revision: -1, all: all})
	return next
}

// MaxAccessTokenLifetime bounds the lifetime of access tokens: revoked grants and retired keys are
// remembered for so long.
const MaxAccessTokenLifetime = time.Hour

// plainURL matches URLs that are safe in the metadata: no character of theirs has a meaning in a
// shell or a page.
var plainURL = regexp.MustCompile(`^https?://[A-Za-z0-9.:[\]_-]+(/[A-Za-z0-9._~%/-]*)?(\?[A-Za-z0-9._~%/=&-]*)?$`)

// maxScopeNames bounds the total length of the names of a resource's scopes, in bytes: a token
// with all of them, as a string and as a list, must fit token.MaxSize.
const maxScopeNames = 12 << 10

// PlainURL reports whether a URL has no character with a meaning in a shell or a page.
func PlainURL(uri string) bool { return plainURL.MatchString(uri) }

// Check fills in the defaults, lifetime for the lifetime of access tokens, and checks the rest.
func (r Resource) Check(lifetime time.Duration) (Resource, error) {
	uri, err := oauth.PlainResource(r.URI)
	if err != nil {
		return r, fmt.Errorf("resource %q is %w", r.URI, err)
	}
	if uri != r.URI {
		return r, fmt.Errorf("resource %q is not in its plain form (RFC 8707 section 2); give it as %s", r.URI, uri)
	}
	if !PlainURL(r.URI) {
		return r, fmt.Errorf("resource %q has a character that a client's shell or page could take for its own", r.URI)
	}
	for _, alias := range r.Aliases {
		if uri, err := oauth.ParseIndicator(alias); err != nil || uri != alias {
			return r, fmt.Errorf("resource %s: alias %q is not in its plain form: an absolute URI without fragment "+
				"and userinfo; of http(s) with scheme and host in small letters, without default port", r.URI, alias)
		}
	}
	if r.Algorithm == "" {
		r.Algorithm = "ES256"
	}
	if !slices.Contains([]string{"ES256", "RS256", "EdDSA"}, r.Algorithm) {
		return r, fmt.Errorf("resource %s: algorithm %q is not offered; use ES256, RS256 or EdDSA", uri, r.Algorithm)
	}
	if r.AccessTokenLifetime == 0 {
		r.AccessTokenLifetime = lifetime
	}
	if r.AccessTokenLifetime < time.Second || r.AccessTokenLifetime > MaxAccessTokenLifetime {
		return r, fmt.Errorf("resource %s: access token lifetime %s is not between 1s and %s", uri,
			r.AccessTokenLifetime, MaxAccessTokenLifetime)
	}
	for _, s := range r.Scopes {
		if s.Access != "" && s.Access != AccessRead && s.Access != AccessWrite {
			return r, fmt.Errorf("resource %s: the access of scope %s is %.40q; use read or write", uri, s.Name,
				s.Access)
		}
	}
	if n := len(oauth.FormatScope(r.ScopeNames())); n > maxScopeNames {
		return r, fmt.Errorf("resource %s: the names of its scopes have %d bytes together; at most %d fit a token "+
			"that has them all", uri, n, maxScopeNames)
	}
	if len(r.Scopes) == 0 {
		return r, fmt.Errorf("resource %s has no scopes", uri)
	}
	return r, nil
}
