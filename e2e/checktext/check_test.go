package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckFindsWhatIsPlanted writes one fault of each kind into a repository of its own, with the
// rules of this one, and sees it found in its line.
func TestCheckFindsWhatIsPlanted(t *testing.T) {
	long := strings.Repeat("x", 130)
	rows := []struct{ name, file, text, want string }{
		{"a long line of code", "cli/a.go", "package cli\n\nvar a = \"" + long + "\"\n", "a.go:3: the line is 140"},
		{"tabs count", "cli/a.go", "package cli\n\n\t\t\t\t" + long[:106] + "\n", "a.go:3: the line is 122"},
		{"a long comment", "cli/a.go", "// Package cli is\npackage cli\n\n// " + long[:100] + "\n",
			"a.go:4: the comment is 103"},
		{"a long line of SQL in a string", "cli/a.go", "package cli\n\nvar a = `\n" + long + "`\n", "a.go:4: the line"},
		{"a long comment of a script", "scripts/a", "#!/bin/sh\n# " + long[:110] + "\n", "a:2: the comment"},
		{"an id in product code", "cli/a.go", "package cli // MC-" + "26\n", "a.go:1: MC-" + "26 is an id"},
		{"an id in a document", "docs/a.md", "By RS-" + "41 it is so.\n", "a.md:1: RS-" + "41 is an id"},
		{"an id in SQL", "migrations/a.sql", "-- JW-" + "21\n", "a.sql:1: JW-" + "21 is an id"},
		{"a README that is too long", "README.md", strings.Repeat("a\n", 151), "the README has 151 lines"},
		{"words in a comment", "cli/a.go", "package cli // lets an agent in\n", `a.go:1: "lets an agent in": write`},
		{"words in a document", "docs/a.md", "Clients that made themselves known\n",
			`a.md:1: "made themselves known": write`},
		{"words on a page", "web/pages/a.html", "<p>Whoever has the link</p>\n", `a.html:1: "Whoever": write`},
		{"words in a string", "cli/a.go", "package cli\n\nvar a = \"divided by commas\"\n",
			`a.go:3: "divided by commas"`},
		{"words in a file of settings", "deploy/a.yaml", "# divided by spaces\n", `a.yaml:1: "divided by spaces"`},
		{"an old identifier", "cli/a.go", "package cli\n\nvar misused = 1\n", `a.go:3: "misused": write`},
		{"an old identifier in a document", "docs/a.md", "set --token-life\n", `a.md:1: "--token-life": write`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			found := strings.Join(check(t, map[string]string{row.file: row.text}), "\n")
			if !strings.Contains(found, row.want) {
				t.Errorf("found %q, want %q", found, row.want)
			}
		})
	}
}

// TestCheckLeavesStandardWords: words of RFCs, of MCP and of plain English are not refused, and ids
// may stand in tests.
func TestCheckLeavesStandardWords(t *testing.T) {
	found := check(t, map[string]string{
		"docs/a.md": "The act claim (RFC 8693) ends; an end user may let a colleague know. " +
			"There is no room.\n",
		"cli/a_test.go": "package cli // MC-" + "26: the server authenticates the caller\n",
		"cli/a.go": "package cli\n\n// end of the list: " + strings.Repeat("x", 60) +
			"\nvar end, act = 1, 2\n",
		"README.md":                      strings.Repeat("a\n", 150),
		"docs/reference/requirements.md": "| RS-" + "41 | a sentence |\n",
	})
	if found != nil {
		t.Errorf("found %v, want none", found)
	}
}

// TestWordsThatCannotBeReadAreRefused: a rule without what to write instead, or with an expression
// that does not compile, is an error that names its line.
func TestWordsThatCannotBeReadAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"\nall a": ".ci/words.txt:2: want", "all ( => b": ".ci/words.txt:1: error parsing",
	} {
		if _, err := parseWords(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// check runs Check on the files, with the words of this repository.
func check(t *testing.T, files map[string]string) []string {
	t.Helper()
	root := t.TempDir()
	words, err := os.ReadFile("../../.ci/words.txt")
	if err != nil {
		t.Fatal(err)
	}
	rules := ""
	for line := range strings.Lines(string(words)) {
		if !strings.HasPrefix(line, "except ") {
			rules += line
		}
	}
	files[".ci/words.txt"] = rules
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, looked, err := Check(root)
	if err != nil || looked != len(files)-1 {
		t.Fatalf("read %d files of %d: %v", looked, len(files)-1, err)
	}
	return found
}
