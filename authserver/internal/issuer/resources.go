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

// ErrNoResource says that the store keeps no resource of this URI.
var ErrNoResource = errors.New("no such resource")

// ResourceStore keeps the resources that the configuration does not name.
type ResourceStore interface {
	// ResourcesRevision counts the changes of what is kept.
	ResourcesRevision(ctx context.Context) (int64, error)
	// Resources returns what is kept, in the order in which it came.
	Resources(ctx context.Context) ([]Resource, error)
	// PutResource makes or replaces a resource, with its audit line.
	PutResource(ctx context.Context, r Resource, e audit.Event) error
	// DeleteResource removes a resource, with its audit line, or answers ErrNoResource.
	DeleteResource(ctx context.Context, uri string, e audit.Event) error
}

// Resources are those whose tokens are issued: the configuration's, of which the first is the
// default one, and then the store's. It is safe for concurrent use.
type Resources struct {
	fixed []Resource
	store ResourceStore
	life  time.Duration // of tokens, where a resource does not say
	plain bool          // http is let in that leaves this machine

	reading sync.Mutex
	last    atomic.Pointer[kept]
}

// kept is what was last read; all is never changed.
type kept struct {
	revision int64
	all      []Resource
}

// NewResources makes the list. Until Refresh it has the configuration's resources alone, which are
// checked already; life is that of tokens where the store does not say. insecureHTTP lets in those
// of the store that are reached by plain http off this machine.
func NewResources(fixed []Resource, store ResourceStore, life time.Duration, insecureHTTP bool) *Resources {
	r := &Resources{fixed: fixed, store: store, life: life, plain: insecureHTTP}
	r.last.Store(&kept{revision: -1, all: fixed})
	return r
}

// All are the resources as they were last read. Do not change the slice.
func (r *Resources) All() []Resource { return r.last.Load().all }

// Fixed says whether a resource is the configuration's: only there can it be changed.
func (r *Resources) Fixed(uri string) bool {
	return slices.ContainsFunc(r.fixed, func(f Resource) bool { return f.URI == uri })
}

// Algorithms are those of the resources' tokens, each once.
func (r *Resources) Algorithms() (all []string) {
	for _, resource := range r.All() {
		if !slices.Contains(all, resource.Algorithm) {
			all = append(all, resource.Algorithm)
		}
	}
	return all
}

// IsInsecure says whether tokens for a resource would go over the network in the clear, where nobody
// has allowed that.
func (r *Resources) IsInsecure(uri string) bool {
	u, err := url.Parse(uri)
	return err != nil || u.Scheme == "http" && !settings.ThisMachine(u.Hostname()) && !r.plain
}

// DefaultLifetime is that of an access token where a resource does not say.
func (r *Resources) DefaultLifetime() time.Duration { return r.life }

// Refresh reads the store, if it has changed, and says whether it had. What is kept and cannot be
// believed any more (another program wrote it) is left out, with an error that names it; the rest
// counts.
func (r *Resources) Refresh(ctx context.Context) (changed bool, err error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	revision, err := r.store.ResourcesRevision(ctx)
	if err != nil {
		return false, fmt.Errorf("reading the resources' revision: %w", err)
	}
	if revision == r.last.Load().revision {
		return false, nil
	}
	stored, err := r.store.Resources(ctx)
	if err != nil {
		return false, fmt.Errorf("reading resources: %w", err)
	}
	all, err := r.with(stored)
	r.last.Store(&kept{revision, all})
	return true, err
}

// with are the configuration's resources and these of the store's. What cannot be believed is left
// out, with an error that names it.
func (r *Resources) with(stored []Resource) ([]Resource, error) {
	all := slices.Clone(r.fixed)
	var errs []error
	for _, s := range stored {
		checked, err := s.Check(r.life)
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

// With is the list as it would be if the store kept these.
func (r *Resources) With(stored []Resource) *Resources {
	all, _ := r.with(stored) // who keeps them has checked them; what another program wrote stays left out
	next := NewResources(r.fixed, r.store, r.life, r.plain)
	next.last.Store(&kept{revision: -1, all: all})
	return next
}

// MaxAccessTokenLifetime is the longest that an access token may live: the list of ended grants and
// superseded keys are kept for so long.
const MaxAccessTokenLifetime = time.Hour

// plainURL is what the metadata name: addresses that mean nothing to a shell or a page that a
// client hands them to.
var plainURL = regexp.MustCompile(`^https?://[A-Za-z0-9.:[\]_-]+(/[A-Za-z0-9._~%/-]*)?(\?[A-Za-z0-9._~%/=&-]*)?$`)

// maxScopeNames bounds the names of a resource's scopes together, in bytes: a token that has all of
// them, as a string and as a list, must fit token.MaxSize.
const maxScopeNames = 12 << 10

// PlainURL says whether an address means nothing to a shell or a page that a client hands it to.
func PlainURL(uri string) bool { return plainURL.MatchString(uri) }

// Check fills what a resource leaves open, life for that of its tokens, and says what is wrong with
// the rest.
func (r Resource) Check(life time.Duration) (Resource, error) {
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
		r.AccessTokenLifetime = life
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
