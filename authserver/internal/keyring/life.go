package keyring

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// PublishLead is how long a new key is published before it signs: longer than a resource server
// caches a key set.
const PublishLead = 10 * time.Minute

// agreeTime is how long all replicas may take to learn of a new key; they read every second.
const agreeTime = 10 * time.Second

// System is the actor of what no person does.
const System = "system"

// The states of a key; see the package comment.
const (
	StateNext      = "next"
	StateActive    = "active"
	StateRetired   = "retired"
	StateExpired   = "expired"
	StateWithdrawn = "withdrawn"
)

// States are the states of a key.
func States() []string {
	return []string{StateNext, StateActive, StateRetired, StateExpired, StateWithdrawn}
}

// published reports whether a key in this state is in the key set.
func published(state string) bool { return state != StateExpired && state != StateWithdrawn }

// keys are all keys of one algorithm, ascending by generation.
type keys []*key

// active returns the index of the key that signs at t: the latest generation with ActiveAt at or
// before t; -1 when there is none.
func (k keys) active(t time.Time) int {
	for i := len(k) - 1; i >= 0; i-- {
		if k[i].Withdrawn.IsZero() && !k[i].ActiveAt.After(t) {
			return i
		}
	}
	return -1
}

// newest returns the latest generation that is not withdrawn, or nil.
func (k keys) newest() *key {
	for i := len(k) - 1; i >= 0; i-- {
		if k[i].Withdrawn.IsZero() {
			return k[i]
		}
	}
	return nil
}

// superseded returns when a later generation takes over from k[i], or took over; zero when none
// exists yet.
func (k keys) superseded(i int) (at time.Time) {
	for _, later := range k[i+1:] {
		signs := later.Withdrawn.IsZero() || later.ActiveAt.Before(later.Withdrawn)
		if signs && (at.IsZero() || later.ActiveAt.Before(at)) {
			at = later.ActiveAt
		}
	}
	return at
}

func (k keys) state(i int, now time.Time, tokenLife time.Duration) string {
	switch active := k.active(now); {
	case !k[i].Withdrawn.IsZero():
		return StateWithdrawn
	case i > active:
		return StateNext
	case i == active:
		return StateActive
	case k.superseded(i).Add(tokenLife).Before(now): // no token of it can be valid
		return StateExpired
	}
	return StateRetired
}

// Info describes a key to the operator.
type Info struct {
	KID, Algorithm string
	Generation     int
	State          string
	CreatedAt      time.Time
	ActiveAt       time.Time // signs from then on
	RetiresAt      time.Time // another signs from then on; zero: not scheduled
	ExpiresAt      time.Time // published until then; zero: not known yet
	WithdrawnAt    time.Time // zero: not withdrawn
	SealedUnder    string    // id of its sealing key; empty when it is withdrawn
}

// Keys lists all keys, by algorithm and generation.
func (r *Ring) Keys() []Info {
	now := r.Now()
	var infos []Info
	for _, keys := range r.keys.Load().byAlgorithm {
		for i, k := range keys {
			info := Info{
				KID: k.KID, Algorithm: k.Algorithm, Generation: k.Generation, State: keys.state(i, now, r.TokenLife),
				CreatedAt: k.CreatedAt, ActiveAt: k.ActiveAt, RetiresAt: keys.superseded(i), WithdrawnAt: k.Withdrawn,
			}
			if k.under != nil {
				info.SealedUnder = k.under.ID()
			}
			if info.RetiresAt.IsZero() && r.Age > 0 && k.Withdrawn.IsZero() {
				info.RetiresAt = k.ActiveAt.Add(r.Age)
			}
			if !info.RetiresAt.IsZero() && k.Withdrawn.IsZero() {
				info.ExpiresAt = info.RetiresAt.Add(r.TokenLife)
			}
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Algorithm, b.Algorithm), cmp.Compare(a.Generation, b.Generation))
	})
	return infos
}

// Ensure creates the first key of an algorithm unless one signs. Replicas that start at once agree
// on one.
func (r *Ring) Ensure(ctx context.Context, algorithm string) error {
	if r.keys.Load().byAlgorithm[algorithm].newest() != nil {
		return nil
	}
	_, err := r.make(ctx, algorithm, System, r.Now())
	return err
}

// Rotate creates the next key of an algorithm. It signs after PublishLead; or, with soon, when
// every replica publishes it, and resource servers with the old set fetch it once more.
func (r *Ring) Rotate(ctx context.Context, actor, algorithm string, soon bool) (kid string, err error) {
	lead := PublishLead
	if soon {
		lead = agreeTime
	}
	return r.make(ctx, algorithm, actor, r.Now().Add(lead))
}

// RotateByAge creates the next key of each algorithm whose newest key will have signed for Age
// after PublishLead. Of concurrent replicas one creates it.
func (r *Ring) RotateByAge(ctx context.Context, algorithms []string) error {
	if r.Age <= 0 {
		return nil
	}
	for _, algorithm := range algorithms {
		newest := r.keys.Load().byAlgorithm[algorithm].newest()
		if newest == nil || r.Now().Add(PublishLead).Before(newest.ActiveAt.Add(r.Age)) {
			continue
		}
		if _, err := r.Rotate(ctx, System, algorithm, false); err != nil {
			return err
		}
	}
	return nil
}

// Withdraw takes a key out of use and out of the published set, here at once and in other replicas
// at their next Reload. It returns ErrSigns for the active key; in an emergency, when the key may
// be known to others, a new one is created that signs at once.
func (r *Ring) Withdraw(ctx context.Context, actor, kid string, emergency bool) error {
	for try := 0; ; try++ {
		if err := r.Reload(ctx); err != nil {
			return err
		}
		keys, i := r.find(kid)
		if i < 0 {
			return ErrNotFound
		}
		algorithm := keys[i].Algorithm
		if signing := keys.active(r.Now()); emergency && (i == signing || signing < 0) {
			if _, err := r.make(ctx, algorithm, actor, r.Now()); err != nil {
				return err
			}
		}
		now := r.Now().UTC().Truncate(time.Second)
		event := audit.Event{Time: now, Actor: actor, Action: "key.withdraw", Target: kid, Detail: algorithm}
		if emergency {
			event.Detail += " in an emergency"
		}
		err := r.Store.WithdrawKey(ctx, kid, now, event)
		if errors.Is(err, ErrSigns) && emergency && try < 3 {
			// another process created the next one, or withdrew ours
			continue
		}
		if err != nil {
			return fmt.Errorf("withdrawing key %s: %w", kid, err)
		}
		return r.Reload(ctx)
	}
}

// WithdrawnSince returns the keys that were withdrawn at or after t, by kid, with the time, as
// stored now.
func (r *Ring) WithdrawnSince(ctx context.Context, t time.Time) (map[string]time.Time, error) {
	stored, err := r.Store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	withdrawn := map[string]time.Time{}
	for _, k := range stored {
		if !k.Withdrawn.IsZero() && !k.Withdrawn.Before(t) {
			withdrawn[k.KID] = k.Withdrawn
		}
	}
	return withdrawn, nil
}

// make stores a key of the next generation, unless another replica was faster; then that one is
// used.
func (r *Ring) make(ctx context.Context, algorithm, actor string, active time.Time) (kid string, err error) {
	r.turn.Lock()
	defer r.turn.Unlock()
	kid, err = r.put(ctx, algorithm, actor, active)
	if !errors.Is(err, ErrChanged) {
		return kid, err
	}
	if err := r.Reload(ctx); err != nil {
		// another replica resealed everything under a key that this one must know
		return "", err
	}
	return r.put(ctx, algorithm, actor, active)
}

// put is one try of make. It returns ErrChanged when the current sealing key changed. r.turn must
// be held.
func (r *Ring) put(ctx context.Context, algorithm, actor string, active time.Time) (kid string, err error) {
	private, err := newPrivate(algorithm)
	if err != nil {
		return "", err
	}
	now := r.Now().UTC().Truncate(time.Second)
	k := Sealed{Algorithm: algorithm, Generation: 1, CreatedAt: now, ActiveAt: active.UTC().Truncate(time.Second)}
	// Each replica counts from the keys that it read, so that concurrent ones meet on one row.
	if keys := r.keys.Load().byAlgorithm[algorithm]; len(keys) > 0 {
		k.Generation = keys[len(keys)-1].Generation + 1
	}
	if k.KID, err = thumbprint(private.Public()); err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", fmt.Errorf("encoding a signing key: %w", err)
	}
	under := r.sealer()
	k.Under = under.ID()
	if k.Private, err = under.Seal(ctx, der, k.of()); err != nil {
		return "", fmt.Errorf("sealing a signing key: %w", err)
	}
	event := audit.Event{Time: now, Actor: actor, Action: "key.create", Target: k.KID, Detail: algorithm}
	made, err := r.Store.PutKey(ctx, k, event)
	if err != nil {
		return "", fmt.Errorf("keeping a new %s key: %w", algorithm, err)
	}
	if err := r.Reload(ctx); err != nil || made {
		return k.KID, err
	}
	newest := r.keys.Load().byAlgorithm[algorithm].newest()
	if newest == nil {
		return "", fmt.Errorf("another replica has just made a %s key, and it is gone again; try again", algorithm)
	}
	return newest.KID, nil
}
