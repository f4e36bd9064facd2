package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// plain are the files whose words are held to the glossary of CONTRIBUTING.md.
var plain = []string{"../README.md", "../SECURITY.md", "../CHANGELOG.md", "../docs/explanation/dependencies.md",
	"../web/pages/*.html"}

// replaced are words that the glossary replaces, with what to write instead.
var replaced = []struct{ word, instead string }{
	{`\blet(s|ting)? (it |them |him |her )?in\b`, "allow, authorize"},
	{`\bmade? (it |them )?known\b`, "register"},
	{`\bdivided by (commas|spaces)\b`, "comma-separated"},
	{`\b[Ww]hoever\b`, "who, everybody who"},
	{`\blook(s|ed|ing)? after\b`, "administer, administrator"},
	{`\bwings?\b|\bengine room\b`, "authorization server, resource server"},
	{`\bproves? (itself|oneself|themselves)\b`, "authenticate"},
	{`\bend (all|its|their) (access|permission)\b`, "revoke"},
}

// TestPagesAndTheReadmeUseTheFieldsWords: what people read first says things as RFCs and MCP say
// them.
func TestPagesAndTheReadmeUseTheFieldsWords(t *testing.T) {
	looked := 0
	for _, pattern := range plain {
		names, err := filepath.Glob(pattern)
		must(t, err)
		for _, name := range names {
			looked++
			text, err := os.ReadFile(name)
			must(t, err)
			for i, line := range strings.Split(string(text), "\n") {
				for _, of := range wrongWords(line) {
					t.Errorf("%s:%d: %s", name, i+1, of)
				}
			}
		}
	}
	if looked < 15 {
		t.Errorf("%d files were looked at, want 15 at least", looked)
	}
}

// wrongWords says which words of a line the glossary replaces.
func wrongWords(line string) (wrong []string) {
	line = strings.ReplaceAll(line, `{{range .LooksAfter}}`, "") // a name of a template's
	for _, r := range replaced {
		if found := regexp.MustCompile(r.word).FindString(line); found != "" {
			wrong = append(wrong, "“"+found+"”: write "+r.instead)
		}
	}
	return wrong
}

func TestWrongWordsAreFound(t *testing.T) {
	for _, line := range []string{"Let it in?", "made known", "divided by commas", "whoever has it",
		"You look after them", "both wings", "proves itself by", "End its access"} {
		if len(wrongWords(strings.ToLower(line[:1])+line[1:])) == 0 {
			t.Errorf("%q is not found", line)
		}
	}
	if wrong := wrongWords("You can let a colleague sign in; the token ends with its grant."); wrong != nil {
		t.Errorf("found %v where there is none", wrong)
	}
}
