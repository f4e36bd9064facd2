package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// KeyTurn says which key to make.
type KeyTurn struct {
	Algorithm string // empty: that of the resources, if they have one
	Soon      bool   // it signs after some seconds, not after keyring.PublishLead
}

// KeyEnd says which key to withdraw.
type KeyEnd struct {
	KID       string
	Emergency bool // also when it signs now: another one is made and signs at once
}

// KeyEnded is the answer of key.withdraw.
type KeyEnded struct {
	Again bool // it was withdrawn before: only its place on the list of ended grants is new
}

// Resealing says under which key everything is to be sealed.
type Resealing struct {
	// Key is the new key-encryption key, 32 bytes in base64, where the server keeps it itself.
	// Empty: one that is made there; elsewhere the one of the settings.
	Key string
}

// Resealed is the answer of key.reseal.
type Resealed struct {
	Rows  int    // that were sealed anew
	Under string // the name of the sealing key under which everything lies
}

// SigningKeys lists all keys, by algorithm and generation.
func (d *Door) SigningKeys(ctx context.Context) ([]keyring.Info, error) {
	if err := d.Keys.Reload(ctx); err != nil {
		return nil, err
	}
	return d.Keys.Keys(), nil
}

// RotateKey makes the next key of an algorithm, and returns its kid.
func (d *Door) RotateKey(ctx context.Context, k KeyTurn) (kid string, err error) {
	used := d.Resources.Algorithms()
	if k.Algorithm == "" && len(used) == 1 {
		k.Algorithm = used[0]
	}
	if !slices.Contains(used, issuer.DefaultIDTokenAlg) { // id tokens are signed with it, whatever the resources use
		used = append(used, issuer.DefaultIDTokenAlg)
	}
	if !slices.Contains(used, k.Algorithm) {
		return "", refuse("name one with --algorithm; in use: "+strings.Join(used, " "),
			"nothing is signed with the algorithm %.80q here", k.Algorithm)
	}
	// the key and its line are kept in one transaction
	return d.Keys.Rotate(ctx, audit.OperatorOf(ctx), k.Algorithm, k.Soon)
}

// WithdrawKey takes a key out of use and out of the key set at once: every token that it signed is
// worth nothing as soon as a resource hears of it. The key set says it; the list of ended grants
// says it sooner to who follows that. The ledger goes first here: tokens of a key that is on the
// list and signs on would be refused without end. What was cut short is finished by doing it again,
// and by whoever serves when they next restore the list.
func (d *Door) WithdrawKey(ctx context.Context, k KeyEnd) (done KeyEnded, err error) {
	err = d.Keys.Withdraw(ctx, audit.OperatorOf(ctx), k.KID, k.Emergency)
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		if done.Again, err = d.withdrawn(ctx, k.KID, err); err != nil {
			return done, err
		}
	case errors.Is(err, keyring.ErrSigns):
		return done, &Refusal{
			Reason: fmt.Sprintf("the key %.80q signs now: every token of it, the newest too, would be refused", k.KID),
			Hint: "gatehouse key rotate makes the next one; withdraw this one when it is retired. If others may " +
				"know it: --emergency withdraws it now, and makes another that signs at once",
			Err: err,
		}
	case err != nil:
		return done, err
	}
	ctx, free := grant.Lasting(ctx)
	defer free()
	if err := d.Ledger.List.Add(ctx, revocation.KeyID(k.KID), d.now().Add(d.Ledger.TokenLife)); err != nil {
		return done,
			fmt.Errorf("the key is withdrawn, but MCP servers learn it only when they next fetch the key set, unless "+
				"you do it again: %w", err)
	}
	return done, nil
}

// withdrawn says whether a key was withdrawn before, and writes the line of that it is once more.
func (d *Door) withdrawn(ctx context.Context, kid string, missing error) (bool, error) {
	i := slices.IndexFunc(d.Keys.Keys(), func(i keyring.Info) bool {
		return i.KID == kid &&
			i.State == keyring.StateWithdrawn
	})
	if i < 0 {
		return false, &Refusal{Reason: fmt.Sprintf("there is no key %.80q", kid),
			Hint: "gatehouse key list --all shows them", Err: missing}
	}
	return true, d.record(ctx, audit.Event{Action: "key.withdraw", Target: kid, Detail: "again"})
}

// Reseal brings everything that is sealed under another key-encryption key, while it is in use.
func (d *Door) Reseal(ctx context.Context, a Resealing) (done Resealed, err error) {
	if a.Key != "" {
		if key, err := base64.StdEncoding.DecodeString(a.Key); err != nil || len(key) != keyring.KeySize {
			return done, refuse("make one with: head -c 32 /dev/urandom | base64",
				"the new key is not 32 bytes in base64")
		}
	}
	if d.Rekey != nil {
		err := d.Rekey(config.Secret(a.Key), func(next config.Secret) error {
			done, err = d.resealUnder(ctx, next)
			return err
		})
		return done, err
	}
	if a.Key != "" {
		return done,
			refuse("give the new key as key-encryption-key and the one of now as previous-key-encryption-key to "+
				"every replica, then gatehouse key reseal",
				"the key-encryption key comes from the settings here: under another one nothing would start again")
	}
	if done.Rows, done.Under, err = d.Keys.Reseal(ctx, audit.OperatorOf(ctx), nil); err == nil && done.Rows == 0 {
		err = refuse("for another key, give it as key-encryption-key and the one of now as "+
			"previous-key-encryption-key to every replica first",
			"everything lies under the key-encryption key %s already", done.Under)
	}
	return done, err
}

func (d *Door) resealUnder(ctx context.Context, next config.Secret) (done Resealed, err error) {
	key, err := base64.StdEncoding.DecodeString(next.Reveal())
	if err != nil {
		return done, errors.New("the key-encryption key that is kept is not base64")
	}
	sealer, err := keyring.NewAES(key)
	if err != nil {
		return done, err
	}
	done.Rows, done.Under, err = d.Keys.Reseal(ctx, audit.OperatorOf(ctx), sealer)
	return done, err
}
