package configfile_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
)

// Some hundred kilobytes of brackets took 10 GB. Whatever makes the parser go deep is refused
// before it does, with its line.
func TestAFileThatIsNestedDeepTakesNoMemory(t *testing.T) {
	deep := func(s string) string { return "# first\n" + strings.Repeat(s, 100_000) }
	var stairs strings.Builder
	for i := range 1000 {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, row := range map[string]struct{ text, says string }{
		"brackets": {"resources: " + strings.Repeat("[", 300_000),
			"line 1: it is nested deeper than 32"},
		"brackets that close": {strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
			"line 1: it is nested deeper than 32"},
		"closed before opened": {"]]]]\n" + strings.Repeat("[", 100_000), "it is nested deeper than 32"},
		"braces":               {deep("{a: "), "line 2: it is nested deeper than 32"},
		"lists in one line":    {deep("- "), "line 2: it is nested deeper than 32"},
		"keys in one line":     {deep("? "), "line 2: it is nested deeper than 32"},
		"colons in one line":   {deep("a: "), "line 2: it is nested deeper than 32"},
		"indentation":          {stairs.String(), "line 33: it is nested deeper than 32"},
		"anchors":              {"a: " + strings.Repeat("&a ", 100_000), "line 1: it is nested deeper than 32"},
		"anchors in lines":     {"a: " + strings.Repeat("&a\n  ", 100_000), "line 32: it is nested deeper than 32"},
		"tags":                 {deep("a: !!a\n"), "line 2: a tag such as !!a"},
		"hyphens within brackets": {"[" + strings.Repeat("- ", 100_000),
			"line 1: a list with hyphens cannot stand in brackets"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := configfile.ParseDocument([]byte(row.text))
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want an error that says %q", err, row.says)
			}
			if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 200 {
				t.Errorf("it took %d MB", took)
			}
		})
	}
	if _, err := load(t, "name: "+strings.Repeat("[", 300_000), nil); err == nil ||
		!strings.Contains(err.Error(), "line 1: it is nested deeper than 32") {
		t.Errorf("the settings: got %v", err)
	}
}

// What is long is not deep, however it is written.
func TestAFileThatIsLongIsNotNestedDeep(t *testing.T) {
	for _, line := range []string{
		"- {a: [b, c], d: {e: f}}\n", "- a: b\n  c:\n  - d\n  - - e\n    - f: g\n",
		"- a: |\n    - b\n    c: [\n- >-\n  d\n  e\n", "- \"a\n  b: c\"\n- 'd\n  e'\n", "- a: &b c\n- *b\n",
		"- ? a\n  : b\n", "- a: b # [[[\r\n  c: é\r\n", "- [a,\n  b]\n- {a: b,\n  c: d}\n", "-\ta\n",
	} {
		if _, err := configfile.ParseDocument([]byte(strings.Repeat(line, 200))); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	for _, deep := range []string{strings.Repeat("[", 32) + strings.Repeat("]", 32), strings.Repeat("- ", 32) + "a"} {
		if _, err := configfile.ParseDocument([]byte(deep)); err != nil {
			t.Errorf("%q: %v", deep, err)
		}
	}
}
