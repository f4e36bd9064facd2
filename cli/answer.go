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

// fact is one thing of an answer, by its name in JSON.
type fact struct {
	name  string
	value any
}

// part is a table of an answer, or some facts, by its name in JSON.
type part struct {
	name    string
	title   string // above it, for people; empty: none
	heading string // the columns, divided by tabs: SIGNS FROM is signs_from in JSON
	rows    [][]any
	facts   []fact // in place of a table
}

// done says what was done: a sentence for people, its facts for programs.
func (c *call) done(sentence string, facts ...fact) error {
	if c.json {
		return c.write(object(facts))
	}
	return c.write([]byte(sentence))
}

// list answers with one table.
func (c *call) list(heading string, rows [][]any) error {
	p := part{heading: heading, rows: rows}
	if c.json {
		return c.write(p.json())
	}
	return c.write(p.text(c.program.width()))
}

// facts answers with some facts.
func (c *call) facts(facts []fact) error {
	p := part{facts: facts}
	if c.json {
		return c.write(p.json())
	}
	return c.write(p.text(c.program.width()))
}

// answer answers with several parts. A part that is empty is left out for people.
func (c *call) answer(parts ...part) error {
	if c.json {
		var all []fact
		for _, p := range parts {
			all = append(all, fact{p.name, p.json()})
		}
		return c.write(object(all))
	}
	var texts [][]byte
	for _, p := range parts {
		if len(p.rows)+len(p.facts) > 0 {
			texts = append(texts, p.text(c.program.width()))
		}
	}
	return c.write(bytes.Join(texts, []byte("\n\n")))
}

func (c *call) write(text []byte) error {
	if _, err := c.program.Stdout.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// width is how many characters a line of the terminal has; 0: it is none, and lines are as long as
// they are.
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

// json writes the part: a table as an array of objects, facts as one object.
func (p *part) json() json.RawMessage {
	if p.facts != nil {
		return object(p.facts)
	}
	names := strings.Split(strings.ToLower(strings.ReplaceAll(p.heading, " ", "_")), "\t")
	b := []byte{'['}
	for i, row := range p.rows {
		if i > 0 {
			b = append(b, ',')
		}
		var facts []fact
		for j, v := range row {
			facts = append(facts, fact{names[j], v})
			if n, ok := v.(named); ok {
				facts = append(facts, fact{nameField(names[j]), n.name})
			}
		}
		b = append(b, object(facts)...)
	}
	return append(b, ']')
}

// nameField is the field of the name that belongs to an id's: people are named by their addresses.
func nameField(id string) string {
	if id == "user" {
		return "user_email"
	}
	return id + "_name"
}

// object writes facts as a JSON object, in their order. A moment is RFC 3339 or null, a duration is
// in seconds.
func object(facts []fact) json.RawMessage {
	b := []byte{'{'}
	for i, f := range facts {
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
		panic("roof: an answer that is no JSON: " + err.Error()) // a programmer broke it
	}
	return b
}

// cell writes a value for people. What came from strangers cannot move the cursor.
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

// gap is between two columns, and least is what is left at least of a column that is cut or
// wrapped.
const (
	gap   = 2
	least = 20
)

// text writes the part for people, in lines that fit the width where that can be: the last column
// is wrapped, which is where reasons are, and then the widest others are cut. Ids are never cut:
// they are there to be pasted.
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
	for _, f := range p.facts {
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

// columnWidths is how wide each column is.
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

// isID says whether a column holds ids.
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
