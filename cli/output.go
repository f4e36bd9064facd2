package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// field is one value of a result, with its name in JSON.
type field struct {
	name  string
	value any
}

// part is a table of a result, or some fields, with its name in JSON.
type part struct {
	name    string
	title   string // above it, in text; empty: none
	heading string // the columns, separated by tabs: SIGNS FROM is signs_from in JSON
	rows    [][]any
	fields  []field // in place of a table
}

// done prints what was done: a sentence, or its fields as JSON.
func (c *command) done(sentence string, fields ...field) error {
	if c.json {
		return c.write(object(fields))
	}
	return c.write([]byte(sentence))
}

// list prints one table.
func (c *command) list(heading string, rows [][]any) error {
	p := part{heading: heading, rows: rows}
	if c.json {
		return c.write(p.json())
	}
	return c.write(p.text(c.program.width()))
}

// fields prints some fields.
func (c *command) fields(fields []field) error {
	p := part{fields: fields}
	if c.json {
		return c.write(p.json())
	}
	return c.write(p.text(c.program.width()))
}

// answer prints several parts. As text, an empty part is left out.
func (c *command) answer(parts ...part) error {
	if c.json {
		var all []field
		for _, p := range parts {
			all = append(all, field{p.name, p.json()})
		}
		return c.write(object(all))
	}
	var texts [][]byte
	for _, p := range parts {
		if len(p.rows)+len(p.fields) > 0 {
			texts = append(texts, p.text(c.program.width()))
		}
	}
	return c.write(bytes.Join(texts, []byte("\n\n")))
}

func (c *command) write(text []byte) error {
	if _, err := c.program.Stdout.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// width returns the width of the terminal in characters; 0: Stdout is none, and lines are not cut.
func (p *Program) width() int {
	if p.Width != 0 {
		return p.Width
	}
	f, ok := p.Stdout.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// json returns the part as JSON: a table as an array of objects, fields as one object.
func (p *part) json() json.RawMessage {
	if p.fields != nil {
		return object(p.fields)
	}
	names := strings.Split(strings.ToLower(strings.ReplaceAll(p.heading, " ", "_")), "\t")
	b := []byte{'['}
	for i, row := range p.rows {
		if i > 0 {
			b = append(b, ',')
		}
		var fields []field
		for j, v := range row {
			fields = append(fields, field{names[j], v})
			if n, ok := v.(named); ok {
				fields = append(fields, field{nameField(names[j]), n.name})
			}
		}
		b = append(b, object(fields)...)
	}
	return append(b, ']')
}

// nameField returns the field with the name of an id. A person's name is the e-mail address.
func nameField(id string) string {
	if id == "user" {
		return "user_email"
	}
	return id + "_name"
}

// object returns fields as a JSON object, in their order. A time is RFC 3339 or null, a duration is
// in seconds.
func object(fields []field) json.RawMessage {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, encoded(f.name)...), ':')
		b = append(b, encoded(f.value)...)
	}
	return append(b, '}')
}

func encoded(v any) []byte {
	switch x := v.(type) {
	case named:
		v = x.id
	case time.Duration:
		v = x.Seconds()
	case time.Time:
		v = x.UTC().Truncate(time.Second)
		if x.IsZero() {
			v = nil
		}
	case []string:
		if x == nil {
			v = []string{}
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("cli: encoding a result: " + err.Error()) // the type of a field is wrong
	}
	return b
}

// cell returns a value as text, without control characters.
func cell(v any) string {
	s := ""
	switch x := v.(type) {
	case time.Time:
		if !x.IsZero() {
			s = x.UTC().Format(time.RFC3339)
		}
	case []string:
		s = strings.Join(x, " ")
	case time.Duration:
		if x != 0 {
			s = x.String()
		}
	case bool:
		s = map[bool]string{true: "yes", false: "no"}[x]
	default:
		s = fmt.Sprint(x)
	}
	if s = text.Line(s, 0); s == "" {
		return "-"
	}
	return s
}

// gap is the space between two columns, and least the width to which a column is cut or wrapped.
const (
	gap   = 2
	least = 20
)

// text returns the part as text, in lines that fit the width if possible: the last column is
// wrapped, which is where reasons are, and then the widest others are cut. Ids are never cut, so
// that they can be pasted.
func (p *part) text(width int) []byte {
	var lines [][]string
	if p.heading != "" {
		lines = append(lines, strings.Split(p.heading, "\t"))
	}
	for _, row := range p.rows {
		var line []string
		for _, v := range row {
			line = append(line, cell(v))
		}
		lines = append(lines, line)
	}
	for _, f := range p.fields {
		lines = append(lines, []string{strings.ReplaceAll(f.name, "_", " "), cell(f.value)})
	}
	widths := columnWidths(lines, width)
	var out []string
	if p.title != "" {
		out = append(out, p.title)
	}
	for _, line := range lines {
		var b strings.Builder
		last := len(line) - 1
		for j, s := range line[:last] {
			s = cut(s, widths[j])
			b.WriteString(s + strings.Repeat(" ", widths[j]-utf8.RuneCountInString(s)+gap))
		}
		indent := strings.Repeat(" ", utf8.RuneCountInString(b.String()))
		out = append(out, b.String()+strings.Join(wrap(line[last], widths[last]), "\n"+indent))
	}
	return []byte(strings.Join(out, "\n"))
}

// columnWidths returns the width of each column.
func columnWidths(lines [][]string, width int) []int {
	var widths []int
	for _, line := range lines {
		for j, s := range line {
			if j == len(widths) {
				widths = append(widths, 0)
			}
			widths[j] = max(widths[j], utf8.RuneCountInString(s))
		}
	}
	narrow := func(j, over int) int {
		to := max(min(least, widths[j]), widths[j]-over)
		over -= widths[j] - to
		widths[j] = to
		return over
	}
	over := -gap - width
	for _, w := range widths {
		over += w + gap
	}
	if width == 0 || over <= 0 {
		return widths
	}
	over = narrow(len(widths)-1, over)
	for over > 0 {
		widest := -1
		for j, w := range widths {
			if w > least && !isID(lines[0][j]) && (widest < 0 || w > widths[widest]) {
				widest = j
			}
		}
		if widest < 0 {
			break
		}
		over = narrow(widest, over)
	}
	return widths
}

// isID reports whether a column has ids.
func isID(heading string) bool {
	return slices.Contains([]string{"ID", "KID", "CLIENT", "TENANT", "GRANT", "TARGET", "USER"}, heading)
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// wrap breaks a text into lines, between words where it can.
func wrap(s string, width int) (lines []string) {
	for rest := []rune(s); ; {
		if len(rest) <= width {
			return append(lines, string(rest))
		}
		at, skip := width, 0
		for i := width; i > 0; i-- {
			if rest[i] == ' ' {
				at, skip = i, 1
				break
			}
		}
		lines, rest = append(lines, string(rest[:at])), rest[at+skip:]
	}
}
