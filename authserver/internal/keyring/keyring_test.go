package keyring_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

var ctx = context.Background()

const resource = "https://mcp.example/mcp"

// cabinet is where the keys of one test are kept, and its clock.
type cabinet struct {
	t        *testing.T
	database string
	mu       sync.Mutex
	now      time.Time
}

func newCabinet(t *testing.T) *cabinet {
	t.Helper()
	c := &cabinet{t: t, database: "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db"),
		now: time.Now().UTC().Truncate(time.Second)}
	must(t, schema.Up(ctx, c.database, migrations.Issuer, "schema_migrations_issuer"))
	return c
}

func (c *cabinet) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *cabinet) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// forget makes the rows those of a program that knew of one sealing key.
func (c *cabinet) forget(t *testing.T) {
	t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(c.database, "sqlite:"))
	must(t, err)
	defer db.Close()
	_, err = db.Exec("UPDATE signing_keys SET sealed_under = ''; DELETE FROM sealed_secrets")
	must(t, err)
}

func (c *cabinet) store() *sqlstore.DB {
	c.t.Helper()
	db, err := sqlstore.Open(ctx, c.database)
	must(c.t, err)
	c.t.Cleanup(func() { db.Close() })
	return db
}

// sealer is the sealing key that is this letter 32 times.
func sealer(letter byte) keyring.Sealer {
	s, err := keyring.NewAES(bytes.Repeat([]byte{letter}, keyring.KeySize))
	if err != nil {
		panic(err)
	}
	return s
}

func (c *cabinet) config(letters string) keyring.Config {
	config := keyring.Config{Store: c.store(), TokenLife: 10 * time.Minute, Age: 90 * 24 * time.Hour, Now: c.clock}
	for _, letter := range []byte(letters) {
		config.Sealers = append(config.Sealers, sealer(letter))
	}
	return config
}

func (c *cabinet) open(algorithms ...string) (*keyring.Ring, error) {
	r, err := keyring.Open(ctx, c.config("a"))
	if err == nil {
		err = r.EnsureSecret(ctx, nil)
	}
	for _, algorithm := range algorithms {
		if err == nil {
			err = r.Ensure(ctx, algorithm)
		}
	}
	return r, err
}

func (c *cabinet) ring(algorithms ...string) *keyring.Ring {
	c.t.Helper()
	r, err := c.open(algorithms...)
	must(c.t, err)
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cabinet) sign(r *keyring.Ring, algorithm string) string {
	c.t.Helper()
	now := c.clock()
	raw, err := r.Sign(algorithm, token.Claims{
		Issuer: "https://as.example", Subject: "usr_ann", Audience: resource, ClientID: "cli_1", TenantID: "acme",
		GrantID: "grt_1", ID: "1",
		Scope: "a", Scopes: []string{"a"}, IssuedAt: now.Unix(), Expires: now.Add(10 * time.Minute).Unix(),
	})
	must(c.t, err)
	return raw
}

// believed says whether somebody who has only the published document believes the token.
func (c *cabinet) believed(r *keyring.Ring, raw string) bool {
	c.t.Helper()
	keys, err := token.ParseKeySet(r.Document().JSON)
	must(c.t, err)
	rules := token.Rules{Issuer: "https://as.example", Audience: resource,
		Algorithms: []string{"ES256", "RS256", "EdDSA"}, Now: c.clock}
	_, err = rules.Verify(ctx, raw, keys)
	return err == nil
}

func TestEveryAlgorithmSignsWhatItsDocumentBelieves(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256", "RS256", "EdDSA")
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		if !c.believed(r, c.sign(r, algorithm)) {
			t.Errorf("%s: its own document does not believe it", algorithm)
		}
	}
	if _, err := r.Sign("HS256", token.Claims{}); err == nil {
		t.Error("HS256 signs")
	}
	var set struct{ Keys []map[string]any }
	must(t, json.Unmarshal(r.Document().JSON, &set))
	for _, key := range set.Keys { // KY-04: nothing private is published
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if key[private] != nil {
				t.Errorf("the document holds %q", private)
			}
		}
		if key["use"] != "sig" || key["alg"] == nil || key["kid"] == nil {
			t.Errorf("a key without its use, alg or kid: %v", key)
		}
	}
}

func TestKeysOutliveARestart(t *testing.T) {
	c := newCabinet(t)
	first := c.ring("ES256")
	raw := c.sign(first, "ES256")
	second := c.ring("ES256")
	if !bytes.Equal(first.Document().JSON, second.Document().JSON) || first.Document().ETag != second.Document().ETag ||
		!c.believed(second, raw) {
		t.Error("a restart made other keys")
	}
}

// FT-20
func TestReplicasThatStartAtOnceAgree(t *testing.T) {
	c := newCabinet(t)
	var wg sync.WaitGroup
	documents := make([]string, 8)
	for i := range documents {
		wg.Go(func() {
			r, err := c.open("ES256")
			if err != nil {
				t.Error(err)
				return
			}
			documents[i] = string(r.Document().JSON)
		})
	}
	wg.Wait()
	for _, d := range documents {
		if d != documents[0] {
			t.Fatalf("two sets:\n%s\n%s", documents[0], d)
		}
	}
}

// KY-01, KY-02: the life of a key: published before it signs, published after it has signed, gone
// when no token of it can be alive.
func TestRotation(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256")
	old := c.sign(r, "ES256")
	next, err := r.Rotate(ctx, "operator", "ES256", false)
	must(t, err)
	if !bytes.Contains(r.Document().JSON, []byte(next)) {
		t.Error("the next key is not published before it signs")
	}
	c.step(keyring.PublishLead - time.Minute)
	if raw := c.sign(r, "ES256"); keyID(t, raw) == next {
		t.Error("the next key signs before its time")
	}
	c.step(2 * time.Minute)
	now := c.sign(r, "ES256")
	if keyID(t, now) != next || !c.believed(r, now) {
		t.Error("the next key does not sign when its time has come")
	}
	must(t, r.Reload(ctx))
	if !bytes.Contains(r.Document().JSON, []byte(keyID(t, old))) {
		t.Error("the old key is gone while tokens of it may be alive")
	}
	c.step(12 * time.Minute)
	must(t, r.Reload(ctx))
	if bytes.Contains(r.Document().JSON, []byte(keyID(t, old))) {
		t.Error("the old key is still published when no token of it can be alive")
	}
	soon, err := r.Rotate(ctx, "operator", "ES256", true)
	must(t, err)
	if got := keyID(t, c.sign(r, "ES256")); got == soon {
		t.Error("a new key signs before other replicas can have it")
	}
	c.step(10 * time.Second)
	if got := keyID(t, c.sign(r, "ES256")); got != soon {
		t.Errorf("rotated soon: %s signs, want %s", got, soon)
	}
}

// KY-03: a key that others may know is out of use and out of the document at once, in this replica
// and, after its next look, in the others.
func TestWithdrawal(t *testing.T) {
	c := newCabinet(t)
	r, replica := c.ring("ES256"), c.ring("ES256")
	raw := c.sign(r, "ES256")
	must(t, r.Withdraw(ctx, "operator", keyID(t, raw), true))
	if c.believed(r, raw) {
		t.Error("a withdrawn key's token is believed")
	}
	if again := c.sign(r, "ES256"); keyID(t, again) == keyID(t, raw) || !c.believed(r, again) {
		t.Error("no new key signs in place of the withdrawn one")
	}
	must(t, replica.Reload(ctx))
	if c.believed(replica, raw) {
		t.Error("the replica still publishes it")
	}
	if _, err := replica.Key(ctx, keyID(t, raw)); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("the replica itself believes it: %v", err)
	}
	if err := r.Withdraw(ctx, "operator", keyID(t, raw), true); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("withdrawing twice: got %v, want ErrNotFound", err)
	}
	if third := c.ring("ES256"); c.believed(third, raw) {
		t.Error("a restart brings it back")
	}
	for _, k := range stored(t, c) {
		if k.KID == keyID(t, raw) && len(k.Private) > 0 {
			t.Error("the private part of a withdrawn key is kept")
		}
	}
}

// The key that signs is withdrawn in an emergency alone. When it was, no older one signs again.
func TestTheKeyThatSignsIsNotWithdrawn(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256")
	first := keyID(t, c.sign(r, "ES256"))
	refused := func(kid string) {
		t.Helper()
		before := len(stored(t, c))
		if err := r.Withdraw(ctx, "operator", kid, false); !errors.Is(err, keyring.ErrSigns) {
			t.Errorf("got %v, want ErrSigns", err)
		}
		if got := keyID(t, c.sign(r, "ES256")); got != kid || len(stored(t, c)) != before {
			t.Errorf("refused, and yet %s signs and there are %d keys, not %d", got, len(stored(t, c)), before)
		}
	}
	refused(first)
	second, err := r.Rotate(ctx, "operator", "ES256", true)
	must(t, err)
	refused(first) // the next one does not sign yet
	c.step(10 * time.Second)
	refused(second)
	must(t, r.Withdraw(ctx, "operator", second, true))
	third := keyID(t, c.sign(r, "ES256"))
	if third == first || third == second {
		t.Errorf("%s signs in place of the withdrawn key, want a new one", third)
	}
	must(t, r.Withdraw(ctx, "operator", first, false)) // retired: nobody needs to be in a hurry
	next, err := r.Rotate(ctx, "operator", "ES256", false)
	must(t, err)
	must(t, r.Withdraw(ctx, "operator", next, false))
	refused(third)
	if got, want := states(r), "withdrawn withdrawn active withdrawn"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Two replicas that each know two keys withdraw one each: there is still a key that signs, and a
// restart finds it.
func TestWithdrawalsInTwoReplicas(t *testing.T) {
	c := newCabinet(t)
	first := c.ring("ES256")
	one := keyID(t, c.sign(first, "ES256"))
	two, err := first.Rotate(ctx, "operator", "ES256", true)
	must(t, err)
	c.step(time.Minute)
	replica := c.ring("ES256")
	var wg sync.WaitGroup
	for ring, kid := range map[*keyring.Ring]string{first: one, replica: two} {
		wg.Go(func() {
			if err := ring.Withdraw(ctx, "operator", kid, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	third := c.ring("ES256")
	if kid := keyID(t, c.sign(third, "ES256")); kid == one || kid == two || !c.believed(third, c.sign(third, "ES256")) {
		t.Errorf("%s signs after both were withdrawn", kid)
	}
}

// A key has another take its place when it has signed for its age. Of many replicas that see it at
// once, one makes the next.
func TestRotationByAge(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256", "RS256")
	old := keyID(t, c.sign(r, "ES256"))
	const age = 90 * 24 * time.Hour
	c.step(age - keyring.PublishLead - time.Second)
	must(t, r.RotateByAge(ctx, []string{"ES256"}))
	if got := states(r); got != "active active" {
		t.Errorf("before its time: got %s", got)
	}
	c.step(time.Second)
	var wg sync.WaitGroup
	for range 6 {
		replica := c.ring()
		wg.Go(func() {
			for range 2 { // a second look finds the next one there
				if err := replica.RotateByAge(ctx, []string{"ES256"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, r.Reload(ctx))
	if got, want := states(r), "active next active"; got != want {
		t.Fatalf("when its time has come: got %s, want %s", got, want)
	}
	if got := keyID(t, c.sign(r, "ES256")); got != old {
		t.Errorf("%s signs before its time", got)
	}
	c.step(keyring.PublishLead)
	if got := keyID(t, c.sign(r, "ES256")); got == old || states(r) != "retired active active" {
		t.Errorf("after the age %s signs, and there are %s", got, states(r))
	}
	events, err := c.store().Events(ctx, audit.Filter{Limit: 1})
	must(t, err)
	if e := events[0]; e.Actor != "system" || e.Action != "key.create" {
		t.Errorf("the newest line is %+v", e)
	}
	c.step(10*time.Minute + time.Second)
	if got, want := states(r), "expired active active"; got != want {
		t.Errorf("when its last token is over: got %s, want %s", got, want)
	}
}

// What key list shows: when each state ends.
func TestKeysSayWhatComes(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256")
	start := c.clock()
	kid, err := r.Rotate(ctx, "operator", "ES256", false)
	must(t, err)
	infos := r.Keys()
	signs := start.Add(keyring.PublishLead)
	if a, b := infos[0], infos[1]; !a.RetiresAt.Equal(signs) || !a.ExpiresAt.Equal(signs.Add(10*time.Minute)) ||
		b.KID != kid || !b.ActiveAt.Equal(signs) ||
		!b.RetiresAt.Equal(signs.Add(90*24*time.Hour)) || b.SealedUnder != sealer('a').ID() {
		t.Errorf("got %+v", infos)
	}
}

// states are the states of all keys, by algorithm and generation.
func states(r *keyring.Ring) string {
	var all []string
	for _, k := range r.Keys() {
		all = append(all, k.State)
	}
	return strings.Join(all, " ")
}

func stored(t *testing.T, c *cabinet) []keyring.Sealed {
	t.Helper()
	keys, err := c.store().Keys(ctx)
	must(t, err)
	return keys
}

func keyID(t *testing.T, raw string) string {
	t.Helper()
	header, err := tokenHeader(raw)
	must(t, err)
	return header.KeyID
}

func tokenHeader(raw string) (h struct {
	KeyID string `json:"kid"`
}, err error) {
	first, _, _ := bytes.Cut([]byte(raw), []byte("."))
	text := make([]byte, base64.RawURLEncoding.DecodedLen(len(first)))
	if _, err = base64.RawURLEncoding.Decode(text, first); err == nil {
		err = json.Unmarshal(text, &h)
	}
	return h, err
}
