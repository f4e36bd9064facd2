package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func (c *command) applyCommand() *cobra.Command {
	cmd := c.verb("apply", "Create and change resources, tenants, policies, roles and clients from a file, atomically",
		"-f organisation.yaml --dry-run", apply, "file")
	cmd.GroupID = groupOperate
	return cmd
}

func apply(fs *pflag.FlagSet) action {
	path := fs.StringP("file", "f", "", "YAML file with the desired state; - is standard input")
	dry := fs.Bool("dry-run", false, "print what would change, and change nothing")
	return func(ctx context.Context, c *command) error {
		content, name, err := c.readManifest(*path)
		if err != nil {
			return err
		}
		b, err := authserver.ReadManifest(content)
		if err != nil {
			return unapplied(name, &authserver.Refusal{Reason: err.Error()})
		}
		act := "apply"
		if *dry {
			act = "apply.plan"
		}
		var changes []authserver.Change
		if err := c.act(ctx, act, b, &changes); err != nil {
			if !*dry {
				err = unsaid(name, err)
			}
			return unapplied(name, err)
		}
		if c.json {
			return c.write(object([]field{{"dry_run", *dry}, {"changes", changesJSON(changes)}}))
		}
		return c.write(c.changesText(changes, *dry))
	}
}

// readManifest reads the file, and returns its name for messages.
func (c *command) readManifest(path string) (content []byte, name string, err error) {
	name = path
	switch path {
	case "-":
		name = "standard input"
		content, err = io.ReadAll(io.LimitReader(c.program.Stdin, authserver.MaxManifest+1))
	default:
		content, err = readAtMost(path, authserver.MaxManifest+1)
	}
	if err != nil {
		return nil, name, usageError("name a file that can be read", fmt.Errorf("apply: %w", err))
	}
	return content, name, nil
}

func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// unsaid says of a file that it may have been applied: there was no response, or the time was up.
func unsaid(name string, err error) error {
	for _, open := range []error{authserver.ErrNoAnswer, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, open) {
			hint := "whether it was applied is not known: run it with --dry-run; a created client gets its " +
				"secret from " + Name + " client replace-secret"
			return &exitError{fmt.Errorf("%s: %w", name, err), hint, exitFailed}
		}
	}
	return err
}

// unapplied says of a file that it was refused, and that nothing of it was applied.
func unapplied(name string, err error) error {
	var r *authserver.Refusal
	if !errors.As(err, &r) || errors.Is(err, authserver.ErrUnknownOperation) {
		return err
	}
	hint := "nothing of the file was applied"
	if r.Hint != "" {
		hint += "; " + r.Hint
	}
	return &authserver.Refusal{Reason: name + ": " + r.Reason, Hint: hint, Err: err}
}

func changesJSON(changes []authserver.Change) json.RawMessage {
	all := make([]json.RawMessage, len(changes))
	for i, ch := range changes {
		fields := make([]json.RawMessage, len(ch.Fields))
		for j, f := range ch.Fields {
			fields[j] = object([]field{{"field", f.Name}, {"from", f.From}, {"to", f.To}})
		}
		all[i] = object([]field{
			{"change", ch.Verb}, {"kind", ch.Kind}, {"tenant", ch.Tenant}, {"name", ch.Name},
			{"client_id", ch.ClientID}, {"client_secret", ch.Secret}, {"fields", fields},
		})
	}
	return encoded(all)
}

// changesText writes the changes for people, a line each, and then the secrets, which are not cut
// to the terminal's width.
func (c *command) changesText(changes []authserver.Change, dry bool) []byte {
	if len(changes) == 0 {
		return []byte("nothing to change: everything is as in the file")
	}
	p := part{heading: "CHANGE\tKIND\tTENANT\tNAME\tFIELDS"}
	var secrets bytes.Buffer
	for _, ch := range changes {
		var fields []string
		for _, f := range ch.Fields {
			text := f.Name + " " + fieldText(f, f.To)
			if ch.Verb == "change" {
				text = f.Name + " " + fieldText(f, f.From) + " → " + fieldText(f, f.To)
			}
			fields = append(fields, text)
		}
		p.rows = append(p.rows, []any{ch.Verb, ch.Kind, ch.Tenant, ch.Name, strings.Join(fields, "; ")})
		if ch.ClientID != "" && ch.Verb == "create" {
			fmt.Fprintf(&secrets, "\n%s  client_id %s", cell(strings.TrimPrefix(ch.Tenant+"/"+ch.Name, "/")),
				ch.ClientID)
			if ch.Secret != "" {
				fmt.Fprintf(&secrets, "  client_secret %s", ch.Secret)
			}
		}
	}
	text := p.text(c.program.width())
	switch {
	case dry:
		text = append(text, "\n\nthis is what would change; nothing was changed"...)
	case secrets.Len() > 0:
		text = append(append(text, "\n\ncreated clients with their secrets, shown this once:"...),
			secrets.Bytes()...)
	}
	return text
}

// fieldText writes a field's value for people.
func fieldText(f authserver.ChangedField, raw json.RawMessage) string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		return "-"
	}
	switch x := v.(type) {
	case []any:
		var words []string
		for _, word := range x {
			words = append(words, fmt.Sprint(word))
		}
		return cell(words)
	case float64:
		return cell(time.Duration(x * float64(time.Second)))
	}
	return cell(v)
}
