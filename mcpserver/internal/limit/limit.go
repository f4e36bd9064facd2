// Package limit limits what callers may do: requests per minute, and requests at once.
package limit

import (
	"net/http"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// MaxCounted is how many grants or addresses are counted at once. Beyond it the limiter's own
// memory serves, which is smaller; when that is full too, requests are rejected.
const MaxCounted = 100_000

// TooMany answers 429 with the time after which the client may retry.
func TooMany(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	e := oauth.TooManyRequests(wait)
	httpd.Note(r.Context(), "refused", "too many requests")
	httpd.RetryAfter(w, e.Wait)
	httpd.WriteJSON(w, e.Status, map[string]string{"error": e.Code, "error_description": e.Description})
}

// perMinute returns a limiter that counts in the memory of this process.
func perMinute(name string, limit int64, now func() time.Time) *ratelimit.Limiter {
	return &ratelimit.Limiter{Store: ttl.NewMemory(ttl.Options{Now: now, MaxEntries: MaxCounted}), Name: name,
		Limit: limit, Window: time.Minute}
}

// Requests returns a function that counts a request of a grant, or of its address if it has none,
// and answers 429 and returns false when there were more than limit in a minute. A negative limit
// means no limit.
func Requests(limit int64, now func() time.Time) func(w http.ResponseWriter, r *http.Request, grantID string) bool {
	if limit < 0 {
		return func(http.ResponseWriter, *http.Request, string) bool { return true }
	}
	limiter := perMinute("calls", limit, now)
	return func(w http.ResponseWriter, r *http.Request, key string) bool {
		if key == "" {
			key = "from " + httpd.Source(r.Context())
		}
		ok, wait := limiter.Allow(r.Context(), key)
		if !ok {
			TooMany(w, r, wait)
		}
		return ok
	}
}

// Documents returns a middleware that limits how many public documents one address may request in a
// minute; a negative limit means no limit.
func Documents(limit int64, now func() time.Time) func(http.Handler) http.Handler {
	if limit < 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	limiter := perMinute("documents", limit, now)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ok, wait := limiter.Allow(r.Context(), httpd.Source(r.Context())); !ok {
				w.Header().Set("Access-Control-Allow-Origin", "*")
				TooMany(w, r, wait)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Party is who requests in flight are counted for: a tenant, or an address without a tenant.
type Party struct{ Tenant, Address string }

// InFlight limits how many requests are in flight, in total and for each tenant, so that no tenant
// can use all of them. Callers without a tenant count as one tenant, and one address may use at
// most half of its share.
type InFlight struct {
	total, perTenant int

	mu      sync.Mutex
	all     int
	parties map[Party]int
}

// NewInFlight returns a limiter of the given sizes.
func NewInFlight(total, perTenant int) *InFlight {
	return &InFlight{total: total, perTenant: perTenant, parties: map[Party]int{}}
}

// Enter counts a request, and reports whether it is within the limits; if so, call leave when the
// request is done.
func (l *InFlight) Enter(p Party) (leave func(), ok bool) {
	tenant := Party{Tenant: p.Tenant}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.total || l.parties[tenant] >= l.perTenant || p != tenant && l.parties[p] >= max(1, l.perTenant/2) {
		return nil, false
	}
	l.all++
	l.parties[tenant]++
	if p != tenant {
		l.parties[p]++
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		l.remove(tenant)
		if p != tenant {
			l.remove(p)
		}
	}, true
}

func (l *InFlight) remove(p Party) {
	if l.parties[p]--; l.parties[p] == 0 {
		delete(l.parties, p)
	}
}
