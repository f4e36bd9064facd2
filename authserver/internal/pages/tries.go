package pages

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
)

// SignInLimits bound how often a wrong password may be typed. A try counts before its password is
// looked at, so that a hundred at once get no more guesses than a hundred in a row; one whose
// password was right is taken back. Strangers cannot lock anybody out who has signed in before:
// that browser, or else that source of requests, has a count of its own.
type SignInLimits struct {
	// Source limits tries from one source, Pair tries at one account from one source, Account tries
	// at one account from wherever they come.
	Source, Pair, Account *ratelimit.Limiter
	// Browser limits tries at an account from a browser where it has signed in before.
	Browser *ratelimit.Limiter
}

// try is a count that a try to sign in is part of.
type try struct {
	limit *ratelimit.Limiter
	key   string
}

// tries are the counts that a try to sign in to an account is part of: those that fewest people
// share, as far as the request shows that it has such.
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

// count counts a try. When one of its counts has no room, it was no try, and does not count in the
// others either; wait is how long until there is room.
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

// minutes says to people how long to wait.
func minutes(wait time.Duration) string {
	n := int((wait + time.Minute - 1) / time.Minute)
	if n <= 1 {
		return "a minute"
	}
	return fmt.Sprintf("%d minutes", n)
}
