package keyring_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
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
	c := &cabinet{t: t, database: "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db"), now: time.Now().UTC().Truncate(time.Second)}
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

func (c *cabinet) store() *sqlstore.DB {
	c.t.Helper()
	db, err := sqlstore.Open(ctx, c.database)
	must(c.t, err)
	c.t.Cleanup(func() { db.Close() })
	return db
}

var kek = bytes.Repeat([]byte{7}, keyring.KeySize)

func (c *cabinet) open(algorithms ...string) (*keyring.Ring, error) {
	r, err := keyring.Open(ctx, keyring.Config{Store: c.store(), KEK: kek, TokenLife: 10 * time.Minute, Now: c.clock})
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
		Issuer: "https://as.example", Subject: "usr_ann", Audience: resource, ClientID: "cli_1", TenantID: "acme", GrantID: "grt_1", ID: "1",
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
	rules := token.Rules{Issuer: "https://as.example", Audience: resource, Algorithms: []string{"ES256", "RS256", "EdDSA"}, Now: c.clock}
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
	for _, key := range set.Keys { // KY-01: nothing private is published
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
	if !bytes.Equal(first.Document().JSON, second.Document().JSON) || first.Document().ETag != second.Document().ETag || !c.believed(second, raw) {
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

func TestTheSealingKey(t *testing.T) {
	c := newCabinet(t)
	c.ring("ES256")
	_, err := keyring.Open(ctx, keyring.Config{Store: c.store(), KEK: bytes.Repeat([]byte{8}, keyring.KeySize), TokenLife: time.Minute, Now: c.clock})
	if !errors.Is(err, keyring.ErrWrongKey) {
		t.Errorf("another sealing key: got %v, want ErrWrongKey", err)
	}
	sealed, err := c.store().Keys(ctx)
	must(t, err)
	for _, k := range sealed {
		if bytes.Contains(k.Private, []byte("PRIVATE")) || len(k.Private) < 50 {
			t.Error("a private key lies in the database as it is")
		}
	}
}

// The life of a key: published before it signs, published after it has signed, gone when no token of it can be alive.
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

// A key that others may know is out of use and out of the document at once, in this replica and, after its next look, in the others.
func TestWithdrawal(t *testing.T) {
	c := newCabinet(t)
	r, replica := c.ring("ES256"), c.ring("ES256")
	raw := c.sign(r, "ES256")
	must(t, r.Withdraw(ctx, "operator", keyID(t, raw)))
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
	if err := r.Withdraw(ctx, "operator", keyID(t, raw)); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("withdrawing twice: got %v, want ErrNotFound", err)
	}
	if third := c.ring("ES256"); c.believed(third, raw) {
		t.Error("a restart brings it back")
	}
}

// Two replicas that each know two keys withdraw one each: there is still a key that signs, and a restart finds it.
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
			if err := ring.Withdraw(ctx, "operator", kid); err != nil {
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
