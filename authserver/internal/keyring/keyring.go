package keyring

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// PublishLead is how long a new key is published before it signs: longer than a resource keeps a key set, so that none meets it unprepared.
const PublishLead = 10 * time.Minute

// agreeTime is how long all replicas may take to learn of a new key: they look every few seconds.
const agreeTime = 10 * time.Second

// Config says where the keys are.
type Config struct {
	Store     Store
	KEK       []byte        // key-encryption key, KeySize bytes
	TokenLife time.Duration // the longest life of a token, skew included: how long a superseded key stays published
	Now       func() time.Time
}

// Ring holds the signing keys. It is safe for concurrent use; signing takes no lock.
type Ring struct {
	Config
	keys atomic.Pointer[set]
}

// set is the keys at one moment.
type set struct {
	byAlgorithm map[string][]*key // ascending generation
	document    Document
}

// Document is the published key set (RFC 7517 §5), ready to be sent.
type Document struct {
	JSON []byte
	ETag string
}

// Open reads the keys. ErrWrongKey when the key-encryption key does not fit.
func Open(ctx context.Context, c Config) (*Ring, error) {
	r := &Ring{Config: c}
	return r, r.Reload(ctx)
}

// Ensure makes the first key of an algorithm, if there is none. Replicas that start at once agree on one.
func (r *Ring) Ensure(ctx context.Context, algorithm string) error {
	if len(r.keys.Load().byAlgorithm[algorithm]) > 0 {
		return nil
	}
	if _, err := r.make(ctx, algorithm, "system", r.Now()); err != nil {
		return err
	}
	return r.Reload(ctx)
}

// Reload reads the keys anew, so that this replica knows what another has made or withdrawn. On an error the old set stays.
func (r *Ring) Reload(ctx context.Context) error {
	sealed, err := r.Store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	s := &set{byAlgorithm: map[string][]*key{}}
	for _, k := range sealed {
		opened, err := open(r.KEK, k)
		if err != nil {
			return err
		}
		s.byAlgorithm[k.Algorithm] = append(s.byAlgorithm[k.Algorithm], opened)
	}
	for _, keys := range s.byAlgorithm {
		slices.SortFunc(keys, func(a, b *key) int { return a.Generation - b.Generation })
	}
	if s.document, err = s.publish(r.Now(), r.TokenLife); err != nil {
		return err
	}
	r.keys.Store(s)
	return nil
}

// Document returns the published key set. It is made by Reload; between two of them it does not change.
func (r *Ring) Document() Document { return r.keys.Load().document }

// Sign writes claims as an access token (RFC 9068 §2.1) with the key that signs now for the algorithm.
func (r *Ring) Sign(algorithm string, claims token.Claims) (string, error) {
	return r.sign(algorithm, token.Type, claims)
}

// SignIdentity writes claims as an id token (OpenID Connect Core §2) with the key that signs now for the algorithm.
func (r *Ring) SignIdentity(algorithm string, claims any) (string, error) {
	return r.sign(algorithm, IdentityType, claims)
}

func (r *Ring) sign(algorithm, typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	now := r.Now()
	keys := r.keys.Load().byAlgorithm[algorithm]
	for i := len(keys) - 1; i >= 0; i-- {
		if keys[i].signsAt(now) {
			return keys[i].sign(typ, payload)
		}
	}
	return "", fmt.Errorf("no key signs %s now", algorithm)
}

// Key returns the published key of this kid, or token.ErrUnknownKey. It lets the issuer believe its own tokens (token.Keys).
func (r *Ring) Key(_ context.Context, kid string) (jose.JSONWebKey, error) {
	now := r.Now()
	for _, keys := range r.keys.Load().byAlgorithm {
		for i, k := range keys {
			if k.KID == kid && !retired(keys, i, now, r.TokenLife) {
				return k.public, nil
			}
		}
	}
	return jose.JSONWebKey{}, token.ErrUnknownKey
}

// PastKey is Key for what was signed long ago and proves nothing by itself: it finds keys that are published no more, too, but none that was withdrawn.
func (r *Ring) PastKey(kid string) (jose.JSONWebKey, error) {
	for _, keys := range r.keys.Load().byAlgorithm {
		for _, k := range keys {
			if k.KID == kid {
				return k.public, nil
			}
		}
	}
	return jose.JSONWebKey{}, token.ErrUnknownKey
}

// Rotate makes the next key of an algorithm. It signs after PublishLead; or, soon, as soon as every replica publishes it, and resources that still
// keep the old set fetch it once more.
func (r *Ring) Rotate(ctx context.Context, actor, algorithm string, soon bool) (kid string, err error) {
	active := r.Now().Add(PublishLead)
	if soon {
		active = r.Now().Add(agreeTime)
	}
	kid, err = r.make(ctx, algorithm, actor, active)
	if err != nil {
		return "", err
	}
	return kid, r.Reload(ctx)
}

// Withdraw takes a key out of use and out of the published set: for a key that others may know. Here it counts at once, in other replicas when they
// next look. When no other key of its algorithm signs now, a new one is made first.
func (r *Ring) Withdraw(ctx context.Context, actor, kid string) error {
	if err := r.Reload(ctx); err != nil {
		return err
	}
	algorithm, last := r.find(kid)
	if algorithm == "" {
		return ErrNotFound
	}
	err := ErrLast
	if !last {
		err = r.withdraw(ctx, actor, kid, algorithm)
	}
	if errors.Is(err, ErrLast) { // it may have become the last just now
		if _, err := r.make(ctx, algorithm, actor, r.Now()); err != nil {
			return err
		}
		err = r.withdraw(ctx, actor, kid, algorithm)
	}
	if err != nil {
		return err
	}
	return r.Reload(ctx)
}

func (r *Ring) withdraw(ctx context.Context, actor, kid, algorithm string) error {
	now := r.Now().UTC().Truncate(time.Second)
	event := audit.Event{Time: now, Actor: actor, Action: "key.withdraw", Target: kid, Detail: algorithm}
	if err := r.Store.WithdrawKey(ctx, kid, now, event); err != nil {
		return fmt.Errorf("withdrawing key %s: %w", kid, err)
	}
	return nil
}

// Info describes a key to the operator.
type Info struct {
	KID, Algorithm string
	Generation     int
	CreatedAt      time.Time
	ActiveAt       time.Time
	State          string // "next", "signing", "published" or "retired"
}

// Keys lists the keys that are not withdrawn, by algorithm and generation.
func (r *Ring) Keys() []Info {
	now := r.Now()
	var infos []Info
	for _, keys := range r.keys.Load().byAlgorithm {
		signing := -1
		for i, k := range keys {
			if k.signsAt(now) {
				signing = i
			}
		}
		for i, k := range keys {
			state := "published"
			switch {
			case retired(keys, i, now, r.TokenLife):
				state = "retired"
			case i == signing:
				state = "signing"
			case i > signing:
				state = "next"
			}
			infos = append(infos, Info{k.KID, k.Algorithm, k.Generation, k.CreatedAt, k.ActiveAt, state})
		}
	}
	slices.SortFunc(infos, func(a, b Info) int {
		if a.Algorithm != b.Algorithm {
			if a.Algorithm < b.Algorithm {
				return -1
			}
			return 1
		}
		return a.Generation - b.Generation
	})
	return infos
}

// find returns a key's algorithm, and whether no other key of it is usable now.
func (r *Ring) find(kid string) (algorithm string, last bool) {
	now := r.Now()
	for a, keys := range r.keys.Load().byAlgorithm {
		if i := slices.IndexFunc(keys, func(k *key) bool { return k.KID == kid }); i >= 0 {
			others := slices.ContainsFunc(keys, func(k *key) bool { return k.KID != kid && k.signsAt(now) })
			return a, !others
		}
	}
	return "", false
}

// make keeps a key of the next generation, unless another replica was quicker; then that one serves as well.
func (r *Ring) make(ctx context.Context, algorithm, actor string, active time.Time) (kid string, err error) {
	private, err := newPrivate(algorithm)
	if err != nil {
		return "", err
	}
	if kid, err = thumbprint(private.Public()); err != nil {
		return "", err
	}
	sealed, err := seal(r.KEK, private, kid, algorithm)
	if err != nil {
		return "", err
	}
	now := r.Now().UTC().Truncate(time.Second)
	// The first is 1 for everyone, so that replicas that start at once meet on one row. Later ones count by the clock, because the
	// number of a withdrawn key, which is no longer read, must not come again.
	generation := 1
	if keys := r.keys.Load().byAlgorithm[algorithm]; len(keys) > 0 {
		generation = max(keys[len(keys)-1].Generation+1, int(now.Unix()))
	}
	k := Sealed{KID: kid, Algorithm: algorithm, Generation: generation, Private: sealed, CreatedAt: now, ActiveAt: active.UTC().Truncate(time.Second)}
	event := audit.Event{Time: now, Actor: actor, Action: "key.create", Target: kid, Detail: algorithm}
	made, err := r.Store.PutKey(ctx, k, event)
	if err != nil {
		return "", fmt.Errorf("keeping a new %s key: %w", algorithm, err)
	}
	if !made {
		if err := r.Reload(ctx); err != nil {
			return "", err
		}
		keys := r.keys.Load().byAlgorithm[algorithm]
		if len(keys) == 0 {
			return "", fmt.Errorf("the number %d of a new %s key is taken, but there is no such key; try again", generation, algorithm)
		}
		return keys[len(keys)-1].KID, nil
	}
	return kid, nil
}

// publish writes the key set document: every key but the retired.
func (s *set) publish(now time.Time, tokenLife time.Duration) (Document, error) {
	published := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, keys := range s.byAlgorithm {
		for i, k := range keys {
			if !retired(keys, i, now, tokenLife) {
				published.Keys = append(published.Keys, k.public)
			}
		}
	}
	slices.SortFunc(published.Keys, func(a, b jose.JSONWebKey) int {
		if a.KeyID < b.KeyID {
			return -1
		}
		return 1
	})
	body, err := json.Marshal(published)
	if err != nil {
		return Document{}, fmt.Errorf("encoding the key set: %w", err)
	}
	sum := sha256.Sum256(body)
	return Document{JSON: body, ETag: `"` + hex.EncodeToString(sum[:12]) + `"`}, nil
}

// retired says whether no token of keys[i] can be alive: a later key has signed for longer than a token lives.
func retired(keys []*key, i int, now time.Time, tokenLife time.Duration) bool {
	return slices.ContainsFunc(keys[i+1:], func(k *key) bool { return k.ActiveAt.Add(tokenLife).Before(now) })
}

// thumbprint is the kid: the key's RFC 7638 thumbprint, so that no two keys share one.
func thumbprint(public crypto.PublicKey) (string, error) {
	jwk := jose.JSONWebKey{Key: public}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("naming a signing key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
