package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// settingsAct is the act by which a running server says which settings it was started with.
const settingsAct = "settings.list"

// settingsAsked begins what secrets are hashed with, so that a hash tells whoever asks whether
// their own value is the same, and nothing else.
type settingsAsked struct{ Salt string }

// setting is one setting as a process was started with it. Of a secret there is a hash in place of
// the value.
type setting struct {
	Name, Value string
	Secret      bool
}

// hidden is the setting with a hash in place of what is secret.
func (s setting) hidden(salt string) setting {
	if s.Secret {
		sum := sha256.Sum256([]byte(salt + "\x00" + s.Value))
		s.Value = hex.EncodeToString(sum[:])
	}
	return s
}

// started are the settings as flags, environment and file have them, before any is completed by
// what is found on the machine. Where they came from is left out.
func (c *call) started() (all []setting) {
	c.flags.VisitAll(func(f *flag.Flag) {
		if c.own[f.Name] || f.Name == "config" || f.Name == "data-dir" {
			// the folder is the same, however it is written
			return
		}
		all = append(all, setting{f.Name, f.Value.String(), config.IsSecret(f)})
	})
	return all
}

// saySettings is the act of a server that was started with these settings.
func saySettings(started []setting) authserver.Act {
	return func(_ context.Context, arguments json.RawMessage) (any, error) {
		var asked settingsAsked
		if err := json.Unmarshal(arguments, &asked); err != nil || len(asked.Salt) < 16 {
			return nil, &authserver.Refusal{Reason: "the arguments of " + settingsAct + " have no salt"}
		}
		var said []setting
		for _, s := range started {
			said = append(said, s.hidden(asked.Salt))
		}
		return said, nil
	}
}

// hiddenValue stands for a secret.
const hiddenValue = "••••••••"

// runningOtherwise asks the server that runs on the data folder, and returns the settings that it
// was started with which are others than ours, by name, secrets hidden. Without a server, or with
// one of an older version, there are none.
func (c *call) runningOtherwise(ctx context.Context) (map[string]string, error) {
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

// otherwise says which settings a running server has otherwise.
func otherwise(dir string, other map[string]string, names []string) string {
	var said []string
	for _, name := range names {
		value, ok := other[name]
		switch {
		case !ok:
		case value == hiddenValue:
			said = append(said, name+" (secret)")
		default:
			said = append(said, fmt.Sprintf("%s %q", name, value))
		}
	}
	return fmt.Sprintf("the server that runs on %s was started with other settings than these: %s", dir,
		strings.Join(said, ", "))
}
