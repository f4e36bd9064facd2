package user_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

func TestPasswords(t *testing.T) {
	ctx := context.Background()
	long := strings.Repeat("x", 72)
	hash, err := user.HashPassword(ctx, long+"one")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$") {
		t.Fatalf("got %q %v, want an argon2id hash", hash, err)
	}
	for _, row := range []struct {
		name, hash, password string
		want                 bool
	}{
		{"the right one", hash, long + "one", true},
		{"equal in the first 72 bytes", hash, long + "two", false}, // LG-14
		{"nobody's", "", long + "one", false},
		{"nobody's, nothing", "", "", false},
		{"too short to be one", hash, "x", false},
		{"a megabyte", hash, strings.Repeat("x", 1<<20), false}, // LG-14
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, err := user.CheckPassword(ctx, row.hash, row.password); got != row.want || err != nil {
				t.Errorf("got %v %v, want %v", got, err, row.want)
			}
		})
	}
	if again, _ := user.HashPassword(ctx, long+"one"); again == hash {
		t.Error("the same password twice gives the same hash: there is no salt")
	}
	for _, bad := range []string{"", "1234567", strings.Repeat("x", 1025)} {
		if _, err := user.HashPassword(ctx, bad); !errors.Is(err, user.ErrPassword) {
			t.Errorf("a password of %d bytes: got %v, want ErrPassword", len(bad), err)
		}
	}
	if _, err := user.CheckPassword(ctx, "$argon2id$damaged", "12345678"); err == nil {
		t.Error("a damaged hash: got nil, want an error")
	}
}

// LG-09: one account, one spelling.
func TestNormalize(t *testing.T) {
	for _, spelling := range []string{"ann@acme.example", " Ann@ACME.example ", "ANN@acme.example\t",
		"\uff41nn@acme.example"} {
		if got, err := user.Normalize(spelling); got != "ann@acme.example" || err != nil {
			t.Errorf("%q: got %q %v, want ann@acme.example", spelling, got, err)
		}
	}
	for _, bad := range []string{"", "ann", "Ann <ann@acme.example>", "a@b@c", "ann@acme.example\nBcc: x@y.example",
		strings.Repeat("a", 250) + "@b.example"} {
		if got, err := user.Normalize(bad); !errors.Is(err, user.ErrEmail) {
			t.Errorf("%q: got %q %v, want ErrEmail", bad, got, err)
		}
	}
}

// DS-08: of a flood of passwords only so many are hashed at once; the rest wait no longer than
// anyone who asks, and cost nothing then. Who comes afterwards is served.
func TestAFloodOfPasswords(t *testing.T) {
	const flood = 200
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, flood)
	for range flood {
		go func() {
			_, err := user.CheckPassword(ctx, "", "guess-guess-guess")
			done <- err
		}()
	}
	first := <-done
	cancel()
	gaveUp := 0
	for range flood - 1 {
		if err := <-done; errors.Is(err, context.Canceled) {
			gaveUp++
		}
	}
	if first != nil || gaveUp < flood/2 {
		t.Errorf("the first got %v, and %d of %d gave up: want most", first, gaveUp, flood)
	}
	if _, err := user.HashPassword(t.Context(), "correct horse battery staple"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// LG-11: an account that is not there costs the same work as one that is. Bounds are wide: without
// the work it would be a thousandth.
func TestNobodyTakesAsLong(t *testing.T) {
	ctx := context.Background()
	hash, err := user.HashPassword(ctx, "correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	quickest := func(hash string) time.Duration {
		best := time.Hour
		for range 5 {
			start := time.Now()
			if fits, err := user.CheckPassword(ctx, hash, "guess-guess-guess"); fits || err != nil {
				t.Fatalf("got %v %v, want it refused", fits, err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	if known, nobody := quickest(hash), quickest(""); nobody < known/10 || known < nobody/10 {
		t.Errorf("an account takes %s, none %s", known, nobody)
	}
}

// One account for one address: the domain is written in its ASCII form, and nothing in an address
// is there without being seen.
func TestAnAddressHasOneForm(t *testing.T) {
	for typed, want := range map[string]string{
		"ann@bücher.example": "ann@xn--bcher-kva.example", "ANN@BÜCHER.example": "ann@xn--bcher-kva.example",
		"ann@xn--bcher-kva.example": "ann@xn--bcher-kva.example",
		"ann@bu\u0308cher.example":  "ann@xn--bcher-kva.example",
		"ann@acme。example":          "ann@acme.example", "ann@例え.テスト": "ann@xn--r8jz45g.xn--zckzah",
		"ａｎｎ@ACME.example": "ann@acme.example", "jürgen@acme.example": "jürgen@acme.example",
	} {
		got, err := user.Normalize(typed)
		if err != nil || got != want {
			t.Errorf("%+q: got %q %v, want %q", typed, got, err, want)
		}
		if again, err := user.Normalize(got); err != nil || again != got {
			t.Errorf("%q again: got %q %v, want the same", got, again, err)
		}
	}
	for _, typed := range []string{
		"an\u202en@acme.example", "an\u200bn@acme.example", "an\u200dn@acme.example", "an\u200cn@acme.example",
		"ann\u3164@acme.example", "ann\u00ad@acme.example", "ann\x00@acme.example",
		"ann@ac\u200dme.example", "ann@acme..example", "ann@-acme.example", "ann@acme_.example",
		"ann@xn--zzzzzz.example", "ann@.example", "ann@acme.example.", "ann@", "@acme.example",
	} {
		if got, err := user.Normalize(typed); err == nil {
			t.Errorf("%+q: got %q, want an error", typed, got)
		}
	}
	if got := user.OlderForm("ann@xn--bcher-kva.example"); got != "ann@bücher.example" {
		t.Errorf("the form of before: got %q", got)
	}
}
