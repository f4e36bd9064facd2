package roof

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func keyList(fs *flag.FlagSet) action {
	all := fs.Bool("all", false, "those too that are published no more, and which key-encryption key each is sealed under")
	return func(ctx context.Context, c *call) error {
		var keys []authserver.Key
		if err := c.act(ctx, "key.list", struct{}{}, &keys); err != nil {
			return err
		}
		heading := "KID\tALGORITHM\tSTATE\tAGE\tWHAT COMES"
		if *all {
			heading += "\tSEALED UNDER"
		}
		var rows []string
		for _, k := range keys {
			if !*all && (k.State == authserver.KeyExpired || k.State == authserver.KeyWithdrawn) {
				continue
			}
			row := []string{k.KID, k.Algorithm, k.State, age(c.program.Now().Sub(k.CreatedAt)), comes(k)}
			if *all {
				row = append(row, dash(k.SealedUnder))
			}
			rows = append(rows, strings.Join(row, "\t"))
		}
		return c.table(heading, rows)
	}
}

// comes says what becomes of a key, or became of it.
func comes(k authserver.Key) string {
	switch k.State {
	case authserver.KeyNext:
		return "signs from " + when(k.ActiveAt)
	case authserver.KeyActive:
		if k.RetiresAt.IsZero() {
			return "signs until it is rotated"
		}
		return "signs until " + when(k.RetiresAt)
	case authserver.KeyRetired:
		return "published until " + when(k.ExpiresAt)
	case authserver.KeyExpired:
		return "was published until " + when(k.ExpiresAt)
	}
	return "withdrawn " + when(k.WithdrawnAt)
}

// age is a length of time in one number.
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

func keyRotate(fs *flag.FlagSet) action {
	k := authserver.KeyTurn{}
	fs.StringVar(&k.Algorithm, "algorithm", "", "`algorithm` of the key (default the resources'; RS256 signs id tokens)")
	fs.BoolVar(&k.Soon, "now", false, "sign with it after ten seconds, before every resource has read it")
	return func(ctx context.Context, c *call) error {
		var kid string
		if err := c.act(ctx, "key.rotate", k, &kid); err != nil {
			return err
		}
		return c.say("%s", kid)
	}
}

func keyWithdraw(fs *flag.FlagSet) action {
	emergency := fs.Bool("emergency", false, "also the key that signs now, because others may know it: another is made and signs at once")
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "key.withdraw", authserver.KeyEnd{KID: c.operand, Emergency: *emergency}, nil); err != nil {
			return err
		}
		return c.say("key %s is withdrawn, and every token of it", c.operand)
	}
}

func keyReseal(fs *flag.FlagSet) action {
	file := fs.String("new-key-file", "", "`file` with the new key, 32 random bytes in base64 (default one is made), where the key lies in the data folder")
	return func(ctx context.Context, c *call) error {
		a := authserver.Resealing{}
		if *file != "" {
			text, err := os.ReadFile(*file)
			if err != nil {
				return misused("make one with: head -c 32 /dev/urandom | base64", fmt.Errorf("reading the new key: %w", err))
			}
			a.Key = strings.TrimSpace(string(text))
		}
		var done authserver.Resealed
		if err := c.act(ctx, "key.reseal", a, &done); err != nil {
			return err
		}
		return c.say("everything lies under the key-encryption key %s now", done.Under)
	}
}
