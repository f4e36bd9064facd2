package main

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The widths that lines of code and of comments may have, in columns; a tab counts as four. The
// README may have maxREADME lines.
const (
	maxCode    = 120
	maxComment = 100
	maxREADME  = 150
)

// ids are the requirements of docs/reference/requirements.md.
var ids = regexp.MustCompile(
	`\b(AS|CC|EMA|AZ|LG|TK|RT|CA|RV|DR|CM|MD|PA|DP|KY|RS|MC|JW|TN|JK|DS|SC|FT|SF|AD)-\d{2}\b`)

// Check reads every file under root and returns what breaks a rule, one line each, and how many
// files it read.
func Check(root string) (found []string, looked int, err error) {
	text, err := os.ReadFile(path.Join(root, ".ci/words.txt"))
	if err != nil {
		return nil, 0, err
	}
	rules, err := parseWords(string(text))
	if err != nil {
		return nil, 0, err
	}
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			hidden := strings.HasPrefix(base, ".") && name != "." && name != ".ci"
			made := slices.Contains([]string{"data", "bin"}, name)
			if hidden || made || slices.Contains([]string{"node_modules", "testdata"}, base) {
				return fs.SkipDir
			}
			return nil
		}
		kind := kindOf(name)
		if kind == "" {
			return nil
		}
		text, err := os.ReadFile(path.Join(root, name))
		if err != nil {
			return err
		}
		looked++
		for _, f := range file(name, kind, string(text), rules) {
			found = append(found, name+":"+f)
		}
		return nil
	})
	return found, looked, err
}

// kindOf says by which rules a file is checked: go, script, page, document, or "" for none.
func kindOf(name string) string {
	switch ext := path.Ext(name); {
	case name == ".ci/words.txt":
		return ""
	case ext == ".go":
		return "go"
	case ext == ".sh" || name == "Makefile" || path.Dir(name) == "scripts" || path.Dir(name) == ".ci":
		return "script"
	case ext == ".html" || ext == ".css":
		return "page"
	case ext == ".md":
		return "document"
	case ext == ".sql" || ext == ".yaml" || ext == ".yml":
		return "other"
	}
	return ""
}

// isTest says whether a file is of tests, where ids of requirements stand.
func isTest(name string) bool {
	return strings.HasSuffix(name, "_test.go") || strings.HasSuffix(path.Dir(name), "test") ||
		strings.HasPrefix(name, "e2e/")
}

// file returns what breaks a rule in one file, each beginning with its line.
func file(name, kind, text string, rules words) (found []string) {
	lines := strings.Split(text, "\n")
	comments := map[int]string{}
	if kind == "go" {
		comments = commentsOf(text)
	}
	for i, line := range lines {
		say := func(format string, args ...any) {
			if rules.allows(name, line) {
				return
			}
			found = append(found, fmt.Sprintf("%d: %s", i+1, fmt.Sprintf(format, args...)))
		}
		comment, code := comments[i], strings.TrimSuffix(line, comments[i])
		if kind == "go" || kind == "script" {
			most, what := maxCode, "line"
			if strings.TrimSpace(code) == "" || kind == "script" && strings.HasPrefix(line, "# ") {
				most, what = maxComment, "comment"
			}
			if w := width(line); w > most {
				say("the %s is %d columns wide, at most %d", what, w, most)
			}
		}
		if id := ids.FindString(line); id != "" && !isTest(name) && name != "docs/reference/requirements.md" {
			say("%s is an id of a requirement: say the RFC and section, or a sentence", id)
		}
		parts := map[string]string{kind: line}
		if kind == "go" {
			parts = map[string]string{"comment": comment, "code": code}
		}
		for part, text := range parts {
			for _, wrong := range rules.find(part, text) {
				say("%s", wrong)
			}
		}
	}
	if name == "README.md" && len(lines) > maxREADME+1 {
		found = append(found,
			fmt.Sprintf("%d: the README has %d lines, at most %d", maxREADME+1, len(lines)-1, maxREADME))
	}
	return found
}

// width is how many columns a line takes.
func width(line string) int { return len([]rune(line)) + 3*strings.Count(line, "\t") }

// commentsOf returns the part of each line of Go, counted from 0, that is a comment.
func commentsOf(text string) map[int]string {
	found := map[int]string{}
	var s scanner.Scanner
	set := token.NewFileSet()
	f := set.AddFile("", set.Base(), len(text))
	s.Init(f, []byte(text), nil, scanner.ScanComments)
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return found
		}
		if tok != token.COMMENT {
			continue
		}
		for i, line := range strings.Split(literal, "\n") {
			found[set.Position(pos).Line-1+i] = line
		}
	}
}

// words are the rules of .ci/words.txt.
type words struct {
	rules  []rule
	except []exception
}

// rule is an expression that must not be found in the parts of files that it is for.
type rule struct {
	parts   []string
	wrong   *regexp.Regexp
	instead string
}

// exception allows, in files whose path matches, what would otherwise be found.
type exception struct{ path, line *regexp.Regexp }

// parseWords reads .ci/words.txt, which says at its top how it is written.
func parseWords(text string) (w words, err error) {
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts, rest, _ := strings.Cut(line, " ")
		expression, instead, ok := strings.Cut(strings.TrimSpace(rest), " => ")
		if !ok {
			return words{}, fmt.Errorf(".ci/words.txt:%d: want PARTS EXPRESSION => TEXT", i+1)
		}
		compiled, err := regexp.Compile(strings.TrimSpace(expression))
		if err != nil {
			return words{}, fmt.Errorf(".ci/words.txt:%d: %w", i+1, err)
		}
		if parts != "except" {
			w.rules = append(w.rules, rule{strings.Split(parts, ","), compiled, instead})
			continue
		}
		in, err := regexp.Compile(instead)
		if err != nil {
			return words{}, fmt.Errorf(".ci/words.txt:%d: %w", i+1, err)
		}
		w.except = append(w.except, exception{path: compiled, line: in})
	}
	return w, nil
}

// find returns what is wrong in one part of a line of the file.
func (w words) find(part, text string) (found []string) {
	if text == "" {
		return nil
	}
	for _, r := range w.rules {
		if !slices.Contains(r.parts, part) && !slices.Contains(r.parts, "all") {
			continue
		}
		wrong := r.wrong.FindString(text)
		if wrong != "" {
			found = append(found, fmt.Sprintf("%q: write %s", strings.TrimSpace(wrong), r.instead))
		}
	}
	return found
}

// allows says whether an exception is made for the line of the file.
func (w words) allows(name, line string) bool {
	return slices.ContainsFunc(w.except, func(e exception) bool {
		return e.path.MatchString(name) && e.line.MatchString(line)
	})
}
