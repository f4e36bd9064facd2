package card

import (
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// mostCounted bounds the addresses that are counted at once; beyond it a memory of the limiter's
// own serves, and then nobody more.
const mostCounted = 100_000

// Limit bounds how often one address may ask for a document in a minute; less than nothing is no
// bound. Documents are made once and cost nothing; what is bounded is the line. refuse answers who
// asks too often.
func Limit(perMinute int64, now func() time.Time, refuse func(w http.ResponseWriter, r *http.Request,
	wait time.Duration)) func(http.Handler) http.Handler {
	if perMinute < 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	limit := &ratelimit.Limiter{Store: ttl.NewMemory(ttl.Options{Now: now, MaxEntries: mostCounted}), Name: "documents",
		Limit: perMinute, Window: time.Minute}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ok, wait := limit.Allow(r.Context(), httpd.Source(r.Context())); !ok {
				w.Header().Set("Access-Control-Allow-Origin", "*")
				refuse(w, r, wait)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
