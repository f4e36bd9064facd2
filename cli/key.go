package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func (c *command) keyCommands() *cobra.Command {
	return c.noun(groupOperate, "key", "Manage the signing keys and the key that encrypts them",
		c.verb("list", "List the signing keys: next, active, retired", "--all", keyList),
		c.verb("rotate", "Create the next signing key", "--algorithm ES256", keyRotate),
		c.verb("withdraw KID", "Revoke a signing key at once, with every token that it signed",
			"wq2XfTzL0mB8cD5vR1nYk7sJgHpEaUiOZx3M4tCbFhQ --emergency", keyWithdraw),
		c.verb("reseal", "Encrypt the signing keys with another key-encryption key", "--new-key-file new-key.txt",
			keyReseal),
	)
}

func keyList(fs *pflag.FlagSet) action {
	all := fs.Bool("all", false,
		"also those that are no longer published, and which key-encryption key each is encrypted with")
	return func(ctx context.Context, c *command) error {
		var keys []authserver.Key
		if err := c.act(ctx, "key.list", struct{}{}, &keys); err != nil {
			return err
		}
		var people, programs [][]any
		for _, k := range keys {
			if !*all && (k.State == authserver.KeyExpired || k.State == authserver.KeyWithdrawn) {
				continue
			}
			programs = append(programs, []any{k.KID, k.Algorithm, k.State, k.CreatedAt, k.ActiveAt, k.RetiresAt,
				k.ExpiresAt, k.WithdrawnAt, k.SealedUnder})
			row := []any{k.KID, k.Algorithm, k.State, age(c.program.Now().Sub(k.CreatedAt)), nextState(k)}
			if *all {
				row = append(row, k.SealedUnder)
			}
			people = append(people, row)
		}
		if c.json {
			return c.list("KID\tALGORITHM\tSTATE\tCREATED\tSIGNS FROM\tSIGNS UNTIL\tPUBLISHED "+
				"UNTIL\tWITHDRAWN\tSEALED UNDER", programs)
		}
		heading := "KID\tALGORITHM\tSTATE\tAGE\tNEXT STATE"
		if *all {
			heading += "\tSEALED UNDER"
		}
		return c.list(heading, people)
	}
}

// nextState says what happens to a key next, or happened to it last.
func nextState(k authserver.Key) string {
	switch k.State {
	case authserver.KeyNext:
		return "signs " + cell(k.ActiveAt)
	case authserver.KeyActive:
		if k.RetiresAt.IsZero() {
			return "retires when it is rotated"
		}
		return "retires " + cell(k.RetiresAt)
	case authserver.KeyRetired:
		return "expires " + cell(k.ExpiresAt)
	case authserver.KeyExpired:
		return "expired " + cell(k.ExpiresAt)
	}
	return "withdrawn " + cell(k.WithdrawnAt)
}

// age writes a duration with one unit.
func age(d time.Duration) string {
	for _, u := range []struct {
		length time.Duration
		letter string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= 2*u.length {
			return fmt.Sprint(int(d/u.length), u.letter)
		}
	}
	return fmt.Sprint(int(max(d, 0)/time.Second), "s")
}

func keyRotate(fs *pflag.FlagSet) action {
	k := authserver.KeyTurn{}
	fs.StringVar(&k.Algorithm, "algorithm", "", "algorithm of the key (default the resources'; RS256 signs ID tokens)")
	fs.BoolVar(&k.Soon, "now", false, "sign with it after ten seconds, before every resource server has fetched it")
	return func(ctx context.Context, c *command) error {
		var kid string
		if err := c.act(ctx, "key.rotate", k, &kid); err != nil {
			return err
		}
		return c.done(kid, field{"kid", kid})
	}
}

func keyWithdraw(fs *pflag.FlagSet) action {
	emergency := fs.Bool("emergency", false,
		"even the active key, because it may be compromised: another is created and signs at once")
	return func(ctx context.Context, c *command) error {
		var done authserver.KeyEnded
		if err := c.act(ctx, "key.withdraw", authserver.KeyEnd{KID: c.operand, Emergency: *emergency},
			&done); err != nil {
			return err
		}
		text := fmt.Sprintf("key %s is withdrawn, and every token of it", c.operand)
		if done.Again {
			text = fmt.Sprintf("key %s was withdrawn before; it is on the list of revoked grants again", c.operand)
		}
		return c.done(text, field{"kid", c.operand}, field{"again", done.Again})
	}
}

func keyReseal(fs *pflag.FlagSet) action {
	file := fs.String("new-key-file", "",
		"file with the new key, 32 random bytes in base64 (default a generated one, where the key is in the data "+
			"folder)")
	return func(ctx context.Context, c *command) error {
		a := authserver.Resealing{}
		if *file != "" {
			text, err := os.ReadFile(*file)
			if err != nil {
				return usageError("make one with: head -c 32 /dev/urandom | base64",
					fmt.Errorf("reading the new key: %w", err))
			}
			a.Key = strings.TrimSpace(string(text))
		}
		var done authserver.Resealed
		if err := c.act(ctx, "key.reseal", a, &done); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("everything is encrypted with the key-encryption key %s now", done.Under),
			field{"sealed_under", done.Under}, field{"rows", done.Rows})
	}
}
