package attempt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// request is a request at a step with these parameters, that was refused so; nil: it was not.
func request(step attempt.Step, form url.Values, refused error) *attempt.Trace {
	_, w := attempt.Start(context.Background(), attempt.Request{Step: step, Source: "192.0.2.1",
		Program: "smith", Support: "support"})
	w.SetParameters(form)
	if refused != nil {
		w.Refuse(refused)
	}
	return w
}

// Each sentence answers a refusal that there is: one whose words were changed would never be said.
func TestEverySentenceAnswersARefusalThatThereIs(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"../issuer/*.go", "../oauthapi/*.go", "../pages/*.go", "../cimd/*.go",
		"../client/*.go", "../../../shared/oauth/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	for _, says := range attempt.Says() {
		if !strings.HasPrefix(says, "The ") && !strings.Contains(code.String(), says) {
			// what begins so is fosite's, and the flows' tests have it
			if parts := strings.SplitN(says, " must be given", 2); len(parts) < 2 ||
				!strings.Contains(code.String(), `" must be given, exactly once"`) {
				t.Errorf("nothing is refused with %q", says)
			}
		}
	}
}

// A sentence is one: it begins with a capital, ends with a full stop, has no other inside, and
// nothing that was to be filled in.
func TestSentencesAreSentences(t *testing.T) {
	for _, s := range attempt.Sentences() {
		inner := strings.ReplaceAll(s, "(RFC 8707).", "")
		if len(s) < 20 || s[:1] != strings.ToUpper(s[:1]) || !strings.HasSuffix(s, ".") ||
			strings.Contains(strings.TrimSuffix(inner, "."), ". ") {
			t.Errorf("no sentence: %q", s)
		}
	}
	form := url.Values{"client_id": {"cli_a"}, "redirect_uri": {"https://app.example/cb?code=ghc_secret#x"},
		"resource": {"https://ann:pw@mcp.example/mcp?token=1"}}
	for _, e := range []error{
		oauth.InvalidRequest("redirect_uri is not one that this client has registered; send one"),
		oauth.InvalidTarget("this resource is not served here, or is not the only one"),
		oauth.InvalidScope("anything"),
		oauth.InvalidRequest("something else is wrong with https://app.example/cb?code=ghc_secret"),
		errors.New("disk full at ghc_secret"),
		oauth.TooManyRequests(time.Minute),
		&oauth.Error{Code: "strange", Description: "eyJhbGciOiJub25lIn0.e30. is no token",
			Status: http.StatusBadRequest},
	} {
		entry, ok := request(attempt.Authorize, form, e).Entry(noon)
		if r := entry.Attempt; !ok || strings.ContainsAny(r.Reason, "{}?#") || strings.Contains(r.Reason, "secret") ||
			strings.Contains(r.Reason, "eyJ") || !strings.HasSuffix(r.Reason, ".") ||
			strings.Contains(r.Resource, "pw") || r.Outcome != attempt.Failed || r.Support != "support" {
			t.Errorf("%v: got %+v", e, r)
		}
	}
}

// A client that acts for no person is not told to ask one, and no sentence for it speaks of one.
func TestAMachineClientIsNotToldToAskItsPerson(t *testing.T) {
	form := url.Values{"client_id": {"cli_a"}, "resource": {"https://mcp.example/mcp"}}
	for _, named := range attempt.Machines() {
		code, says, _ := strings.Cut(named, "\x00")
		refused := &oauth.Error{Code: code, Description: says, Status: http.StatusBadRequest}
		ofPerson, _ := request(attempt.Token, form, refused).Entry(noon)
		w := request(attempt.Token, form, refused)
		w.Machine()
		ofMachine, _ := w.Entry(noon)
		if ofMachine.Reason == ofPerson.Reason || strings.Contains(ofMachine.Reason, "ask the person") ||
			strings.Contains(ofMachine.Reason, "person must") || strings.Contains(ofMachine.Reason, "person can") {
			t.Errorf("%s %q: a machine client is told %q", code, says, ofMachine.Reason)
		}
	}
}

// Being locked out is called so, and not a wrong password.
func TestALockoutIsCalledOne(t *testing.T) {
	e, ok := request(attempt.SignIn, url.Values{"client_id": {"cli_a"}}, attempt.ErrLocked).Entry(noon)
	if !ok || !strings.HasPrefix(e.Reason, "Sign-in was locked for a while") || strings.ContainsAny(e.Reason, "{}") {
		t.Errorf("got %q", e.Reason)
	}
}

// off is a refusal of a clock's.
type off struct{ by time.Duration }

func (off) Error() string { return "askew" }

func (o off) ClockOff() time.Duration { return o.by }

func TestClocksAreSaidInSeconds(t *testing.T) {
	for by, want := range map[time.Duration]string{-90 * time.Second: "90 seconds in the past",
		5 * time.Minute: "300 seconds in the future"} {
		e, _ := request(attempt.Token, nil, errors.Join(oauth.InvalidClient("client authentication did not succeed"),
			off{by})).Entry(noon)
		if !strings.Contains(e.Reason, want) {
			t.Errorf("got %q, want %q", e.Reason, want)
		}
	}
}

// What is one attempt has one name, at whichever replica; what is a part of the way, or somebody's
// own affair, has none.
func TestWhatIsOneAttempt(t *testing.T) {
	form := url.Values{"client_id": {"cli_a"}, "code_challenge": {"challenge"}}
	id := func(w *attempt.Trace, at time.Time) string {
		e, ok := w.Entry(at)
		if !ok {
			return ""
		}
		return e.ID
	}
	first := id(request(attempt.Authorize, form, nil), noon)
	token := request(attempt.Code, url.Values{"client_id": {"cli_a"}}, nil)
	token.Attempt("challenge")
	token.Finish()
	if got := id(token, noon.Add(time.Hour)); got != first {
		t.Errorf("the code of an attempt is another's: %s, want %s", got, first)
	}
	if strings.Contains(first, "challenge") {
		t.Error("the challenge can be read")
	}
	again := request(attempt.Code, url.Values{"client_id": {"cli_a"}},
		oauth.InvalidGrant("The authorization code has already been used."))
	again.Attempt("challenge")
	again.Grant("grt_a", true)
	if got := id(again, noon); got == first || got == "" {
		t.Error("a code that is used again changes what is said of the first use")
	}
	other := request(attempt.Authorize, url.Values{"client_id": {"cli_b"}, "code_challenge": {"challenge"}}, nil)
	if id(other, noon) == first {
		t.Error("another client's attempt has the same name")
	}
	renewal := func(token string) string {
		return id(request(attempt.Token, url.Values{"client_id": {"cli_a"}, "refresh_token": {token}},
			oauth.InvalidGrant("the refresh token is unknown, or was given")), noon)
	}
	if renewal("x") != renewal("y") {
		t.Error("each token that is made up makes a record")
	}
	silent := request(attempt.Token, form, nil)
	silent.Silence()
	for what, w := range map[string]*attempt.Trace{
		"a renewal": silent, "a nonce": request(attempt.Code, form, oauth.UseDPoPNonce("once more")),
		"a person's own sign-in":   request(attempt.SignIn, nil, attempt.ErrSignIn),
		"a page without a request": request(attempt.Consent, nil, nil),
	} {
		if id(w, noon) != "" {
			t.Errorf("%s is kept", what)
		}
	}
	lost := request(attempt.Consent, nil, nil)
	lost.Lost(oauth.InvalidRequest("This request is no longer under way here"))
	if id(lost, noon) == "" {
		t.Error("a page whose request is lost is not kept")
	}
}

// flaky is a real store that can be away.
type flaky struct {
	attempt.Store
	broken error
}

func (f *flaky) PutAttempts(ctx context.Context, entries []attempt.Entry) error {
	if f.broken != nil {
		return f.broken
	}
	return f.Store.PutAttempts(ctx, entries)
}

func TestOneAddressCannotFillTheLog(t *testing.T) {
	database := "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db")
	if err := schema.Up(t.Context(), database, migrations.Issuer, "schema_migrations_issuer"); err != nil {
		t.Fatal(err)
	}
	store, err := sqlstore.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s, now := &flaky{Store: store}, noon
	l := attempt.NewLog(s, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	const room = 1000 // which is written ten times sooner
	if was := l.Narrow(room); was != 10_000 {
		t.Errorf("%d may wait, want 10,000", was)
	}
	flood := func(source string, n int) {
		for i := range n {
			_, w := attempt.Start(t.Context(), attempt.Request{Step: attempt.Authorize, Source: source})
			w.SetParameters(url.Values{"client_id": {fmt.Sprint("made up ", i)}})
			l.Record(w)
		}
	}
	kept := func() int {
		t.Helper()
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := store.Attempts(t.Context(), attempt.Filter{Limit: 100_000})
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	flood("192.0.2.1", 1000)
	flood("192.0.2.2", 10)
	s.broken = errors.New("the store is away")
	if err := l.Flush(t.Context()); !errors.Is(err, s.broken) {
		t.Fatal(err)
	}
	s.broken = nil
	if got, dropped := kept(), l.Dropped(); got != 130 || dropped != 880 {
		t.Errorf("%d are kept and %d left out, want 120 of the one address, 10 of the other, and 880 left out", got,
			dropped)
	}
	for i := range 30 { // however many addresses come, what waits is bounded
		flood(fmt.Sprint("2001:db8::", i), 60)
	}
	if got := kept(); got != 130+room {
		t.Errorf("%d are kept, want 130 and the %d that may wait", got, room)
	}
	now = now.Add(time.Hour)
	flood("192.0.2.1", 1)
	if got := kept(); got != 130+room+1 {
		t.Errorf("in another minute: %d are kept", got)
	}
}

// What leaves nothing costs next to nothing: each renewal used to clean every name that it brought,
// which was a tenth of the token path.
func TestARenewalThatSucceedsPaysForNothing(t *testing.T) {
	form, ctx := url.Values{"client_id": {"cli_a"}, "resource": {"https://mcp.example/mcp"}}, t.Context()
	made := testing.AllocsPerRun(100, func() {
		_, w := attempt.Start(ctx, attempt.Request{Step: attempt.Token, Source: "192.0.2.1",
			Program: "smith"})
		w.SetParameters(form)
		w.Silence()
		if _, ok := w.Entry(noon); ok {
			t.Error("it is kept")
		}
	})
	if made > 3 { // the way, and the context that carries it
		t.Errorf("%v allocations", made)
	}
}
