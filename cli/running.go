package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

// settingsAct is the operation that returns the settings of a running server.
const settingsAct = "settings.list"

// settingsAsked has the salt with which secrets are hashed: a hash tells the caller whether its own
// value is the same, and nothing else.
type settingsAsked struct{ Salt string }

// setting is one setting of a running process. A secret is replaced by its hash.
type setting struct {
	Name, Value string
	Secret      bool
}

// hidden returns the setting with a secret replaced by its hash.
func (s setting) hidden(salt string) setting {
	if s.Secret {
		sum := sha256.Sum256([]byte(salt + "\x00" + s.Value))
		s.Value = hex.EncodeToString(sum[:])
	}
	return s
}

// started returns the settings as flags, environment and file have them, before defaults that
// depend on the machine are filled in.
func (c *command) started() (all []setting) {
	c.flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || f.Name == "data-dir" {
			// the folder is the same, in whichever form it is given
			return
		}
		all = append(all, setting{f.Name, f.Value.String(), flags.IsSecret(f)})
	})
	return all
}

// settingsOperation returns the operation that lists these settings.
func settingsOperation(started []setting) authserver.Act {
	return func(_ context.Context, arguments json.RawMessage) (any, error) {
		var asked settingsAsked
		if err := json.Unmarshal(arguments, &asked); err != nil || len(asked.Salt) < 16 {
			return nil, &authserver.Refusal{Reason: "the arguments of " + settingsAct + " have no salt"}
		}
		var all []setting
		for _, s := range started {
			all = append(all, s.hidden(asked.Salt))
		}
		return all, nil
	}
}

// hiddenValue stands for a secret.
const hiddenValue = "••••••••"

// differentSettings asks the server that runs on the data folder for its settings, and returns
// those that differ from ours, by name, secrets hidden. Without a server, or with one of an older
// version, there are none.
func (c *command) differentSettings(ctx context.Context) (map[string]string, error) {
	salt := rand.Text()
	arguments, err := json.Marshal(settingsAsked{salt})
	if err != nil {
		return nil, err
	}
	raw, err := c.actInServer(ctx, settingsAct, arguments)
	if errors.Is(err, authserver.ErrNoServer) || errors.Is(err, authserver.ErrUnknownOperation) {
		return nil, nil
	}
	var running []setting
	if err == nil {
		err = json.Unmarshal(raw, &running)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the running server for its settings: %w", err)
	}
	other := map[string]string{}
	for _, ours := range c.started() {
		i := slices.IndexFunc(running, func(s setting) bool { return s.Name == ours.Name })
		if i < 0 || running[i].Value == ours.hidden(salt).Value {
			continue
		}
		if other[ours.Name] = running[i].Value; ours.Secret {
			other[ours.Name] = hiddenValue
		}
	}
	return other, nil
}

// describeDifferent names the settings of a running server that differ.
func describeDifferent(dir string, other map[string]string, names []string) string {
	var words []string
	for _, name := range names {
		value, ok := other[name]
		switch {
		case !ok:
		case value == hiddenValue:
			words = append(words, name+" (secret)")
		default:
			words = append(words, fmt.Sprintf("%s %q", name, value))
		}
	}
	return fmt.Sprintf("the server that runs on %s was started with other settings than these: %s", dir,
		strings.Join(words, ", "))
}
