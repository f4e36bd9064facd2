package pages

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
)

// SignInLimits bound wrong passwords. A try counts before its password is checked, so that
// concurrent tries are no advantage; a right one is taken back. A browser or source that signed in
// before has a count of its own, so that others cannot lock the person out.
type SignInLimits struct {
	// Source limits tries from one source, Pair tries at one account from one source, Account all
	// tries at one account.
	Source, Pair, Account *ratelimit.Limiter
	// Browser limits tries at an account from a browser that signed in to it before.
	Browser *ratelimit.Limiter
}

// try is a counter that a sign-in counts in.
type try struct {
	limit *ratelimit.Limiter
	key   string
}

// tries returns the counters for a sign-in to an account: the most specific ones that the request
// proves.
func (d *Handler) tries(r *http.Request, account string) []try {
	source, l := httpd.Source(r.Context()), d.SignIns
	pair := try{l.Pair, account + "\x00" + source}
	if browser := d.Sessions.KnownBrowser(r, account); browser != "" {
		return []try{{l.Browser, browser}}
	}
	if d.Sessions.KnownAddress(r.Context(), account, source) {
		return []try{pair}
	}
	return []try{{l.Source, source}, pair, {l.Account, account}}
}

// count counts a try. When one counter is full, none counts it; wait is how long until there is
// room.
func count(ctx context.Context, tries []try) (wait time.Duration, ok bool) {
	for i, t := range tries {
		if ok, wait := t.limit.Allow(ctx, t.key); !ok {
			takeBack(ctx, tries[:i])
			return wait, false
		}
	}
	return 0, true
}

// takeBack takes back a try whose password was right.
func takeBack(ctx context.Context, tries []try) {
	for _, t := range tries {
		t.limit.Return(ctx, t.key)
	}
}

// minutes returns a wait for people.
func minutes(wait time.Duration) string {
	n := int((wait + time.Minute - 1) / time.Minute)
	if n <= 1 {
		return "a minute"
	}
	return fmt.Sprintf("%d minutes", n)
}
