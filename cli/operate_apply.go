package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func apply(fs *flag.FlagSet) action {
	var path string
	fs.StringVar(&path, "file", "", "YAML `file` that says what there should be; - is standard input")
	fs.StringVar(&path, "f", "", "the same as --`file`")
	dry := fs.Bool("dry-run", false, "say what would change, and change nothing")
	return func(ctx context.Context, c *call) error {
		content, name, err := c.readBlueprint(path)
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
			return c.write(object([]fact{{"dry_run", *dry}, {"changes", changesJSON(changes)}}))
		}
		return c.write(c.changesText(changes, *dry))
	}
}

// readBlueprint reads the file, and says what to call it.
func (c *call) readBlueprint(path string) (content []byte, name string, err error) {
	name = path
	switch path {
	case "-":
		name = "standard input"
		content, err = io.ReadAll(io.LimitReader(c.program.Stdin, authserver.MaxManifest+1))
	default:
		content, err = readAtMost(path, authserver.MaxManifest+1)
	}
	if err != nil {
		return nil, name, misused("name a file that can be read", fmt.Errorf("apply: %w", err))
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

// unsaid says of a file that it may have been applied and may not have: the answer did not come, or
// the time was over.
func unsaid(name string, err error) error {
	for _, open := range []error{authserver.ErrNoAnswer, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, open) {
			hint := "whether it was applied is not known: run it with --dry-run; a client that was made has its " +
				"secret from " + Name + " client replace-secret"
			return &trouble{fmt.Errorf("%s: %w", name, err), hint, exitFailed}
		}
	}
	return err
}

// unapplied says of a file that it was refused, and that it was refused whole.
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
			fields[j] = object([]fact{{"field", f.Name}, {"from", f.From}, {"to", f.To}})
		}
		all[i] = object([]fact{
			{"change", ch.Verb}, {"kind", ch.Kind}, {"tenant", ch.Tenant}, {"name", ch.Name},
			{"client_id", ch.ClientID}, {"client_secret", ch.Secret}, {"fields", fields},
		})
	}
	return encoded(all)
}

// changesText is for people: what changes, a line each, and then the secrets whole, whatever the
// terminal's width.
func (c *call) changesText(changes []authserver.Change, dry bool) []byte {
	if len(changes) == 0 {
		return []byte("everything is as the file says: nothing to change")
	}
	p := part{heading: "CHANGE\tKIND\tTENANT\tNAME\tFIELDS"}
	var secrets bytes.Buffer
	for _, ch := range changes {
		var fields []string
		for _, f := range ch.Fields {
			said := f.Name + " " + fieldText(f, f.To)
			if ch.Verb == "change" {
				said = f.Name + " " + fieldText(f, f.From) + " → " + fieldText(f, f.To)
			}
			fields = append(fields, said)
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
		text = append(append(text, "\n\nclients that were made, with their secrets, shown this once:"...),
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
