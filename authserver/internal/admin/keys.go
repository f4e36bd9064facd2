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

// KeyRotation says which key to create.
type KeyRotation struct {
	Algorithm string // empty: that of the resources, if it is one
	Soon      bool   // it signs after some seconds instead of keyring.PublishLead
}

// KeyWithdrawal says which key to withdraw.
type KeyWithdrawal struct {
	KID       string
	Emergency bool // even when it signs now: another one is created and signs at once
}

// KeyWithdrawn is the result of key.withdraw.
type KeyWithdrawn struct {
	Again bool // it was withdrawn before; only its entry on the list was written again
}

// Resealing says under which key everything is resealed.
type Resealing struct {
	// Key is the new key-encryption key, 32 bytes in base64, where the server keeps it itself.
	// Empty: a generated one, or that of the settings.
	Key string
}

// Resealed is the result of key.reseal.
type Resealed struct {
	Rows  int    // rows that were resealed
	Under string // id of the sealing key of everything
}

// SigningKeys lists all keys, by algorithm and generation.
func (d *API) SigningKeys(ctx context.Context) ([]keyring.Info, error) {
	if err := d.Keys.Reload(ctx); err != nil {
		return nil, err
	}
	return d.Keys.Keys(), nil
}

// RotateKey creates the next key of an algorithm, and returns its kid.
func (d *API) RotateKey(ctx context.Context, k KeyRotation) (kid string, err error) {
	used := d.Resources.Algorithms()
	if k.Algorithm == "" && len(used) == 1 {
		k.Algorithm = used[0]
	}
	if !slices.Contains(used, issuer.DefaultIDTokenAlg) { // ID tokens are signed with it, whatever the resources use
		used = append(used, issuer.DefaultIDTokenAlg)
	}
	if !slices.Contains(used, k.Algorithm) {
		return "", refuse("name one with --algorithm; in use: "+strings.Join(used, " "),
			"nothing is signed with the algorithm %.80q here", k.Algorithm)
	}
	// the key and its record are one transaction
	return d.Keys.Rotate(ctx, audit.OperatorOf(ctx), k.Algorithm, k.Soon)
}

// WithdrawKey takes a key out of use and out of the key set at once: its tokens are rejected as
// soon as a resource server reads the key set, or sooner the list of revoked grants. The database
// is changed first, because tokens of a key that is on the list and still signs would be rejected
// endlessly. An interrupted withdrawal is finished by repeating it, or when a server next restores
// the list.
func (d *API) WithdrawKey(ctx context.Context, k KeyWithdrawal) (done KeyWithdrawn, err error) {
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
	if err := d.Ledger.List.Add(ctx, revocation.KeyID(k.KID), d.now().Add(d.Ledger.TokenLifetime)); err != nil {
		return done,
			fmt.Errorf("the key is withdrawn, but MCP servers learn it only when they next fetch the key set, unless "+
				"you do it again: %w", err)
	}
	return done, nil
}

// withdrawn reports whether a key was withdrawn before, and then writes the audit record of
// repeating it.
func (d *API) withdrawn(ctx context.Context, kid string, missing error) (bool, error) {
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

// Reseal seals everything under another key-encryption key, while it is in use.
func (d *API) Reseal(ctx context.Context, a Resealing) (done Resealed, err error) {
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

func (d *API) resealUnder(ctx context.Context, next config.Secret) (done Resealed, err error) {
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
