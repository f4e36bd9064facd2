package cli

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
	all := fs.Bool("all", false,
		"those too that are published no more, and which key-encryption key each is sealed under")
	return func(ctx context.Context, c *call) error {
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
			row := []any{k.KID, k.Algorithm, k.State, age(c.program.Now().Sub(k.CreatedAt)), comes(k)}
			if *all {
				row = append(row, k.SealedUnder)
			}
			people = append(people, row)
		}
		if c.json {
			return c.list("KID\tALGORITHM\tSTATE\tCREATED\tSIGNS FROM\tSIGNS UNTIL\tPUBLISHED "+
				"UNTIL\tWITHDRAWN\tSEALED UNDER", programs)
		}
		heading := "KID\tALGORITHM\tSTATE\tAGE\tWHAT COMES"
		if *all {
			heading += "\tSEALED UNDER"
		}
		return c.list(heading, people)
	}
}

// comes says what becomes of a key, or became of it.
func comes(k authserver.Key) string {
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
	fs.StringVar(&k.Algorithm, "algorithm", "",
		"`algorithm` of the key (default the resources'; RS256 signs id tokens)")
	fs.BoolVar(&k.Soon, "now", false, "sign with it after ten seconds, before every resource has read it")
	return func(ctx context.Context, c *call) error {
		var kid string
		if err := c.act(ctx, "key.rotate", k, &kid); err != nil {
			return err
		}
		return c.done(kid, fact{"kid", kid})
	}
}

func keyWithdraw(fs *flag.FlagSet) action {
	emergency := fs.Bool("emergency", false,
		"also the key that signs now, because others may know it: another is made and signs at once")
	return func(ctx context.Context, c *call) error {
		var done authserver.KeyEnded
		if err := c.act(ctx, "key.withdraw", authserver.KeyEnd{KID: c.operand, Emergency: *emergency},
			&done); err != nil {
			return err
		}
		says := fmt.Sprintf("key %s is withdrawn, and every token of it", c.operand)
		if done.Again {
			says = fmt.Sprintf("key %s was withdrawn before; those who follow the list of ended grants are told again",
				c.operand)
		}
		return c.done(says, fact{"kid", c.operand}, fact{"again", done.Again})
	}
}

func keyReseal(fs *flag.FlagSet) action {
	file := fs.String("new-key-file", "",
		"`file` with the new key, 32 random bytes in base64 (default one is made), where the key lies in the "+
			"data folder")
	return func(ctx context.Context, c *call) error {
		a := authserver.Resealing{}
		if *file != "" {
			text, err := os.ReadFile(*file)
			if err != nil {
				return misused("make one with: head -c 32 /dev/urandom | base64",
					fmt.Errorf("reading the new key: %w", err))
			}
			a.Key = strings.TrimSpace(string(text))
		}
		var done authserver.Resealed
		if err := c.act(ctx, "key.reseal", a, &done); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("everything lies under the key-encryption key %s now", done.Under),
			fact{"sealed_under", done.Under}, fact{"rows", done.Rows})
	}
}
