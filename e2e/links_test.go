package e2e_test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	slugged = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksLead follows every link from a document to another file of the repository, and to a
// heading in it.
func TestLinksLead(t *testing.T) {
	followed := 0
	for name, text := range repository(t, func(name string) bool { return path.Ext(name) == ".md" }) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue // not ours
			}
			followed++
			file := path.Join(path.Dir(name), to)
			if to == "" {
				file = name
			}
			if info, err := os.Stat(path.Join("..", file)); err == nil && info.IsDir() {
				continue
			}
			there, err := os.ReadFile(path.Join("..", file))
			if err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			} else if fragment != "" && !headings(string(there))[fragment] {
				t.Errorf("%s links to %s, which has no such heading", name, m[1])
			}
		}
	}
	if followed < 5 {
		t.Errorf("%d links were followed, want 5 at least", followed)
	}
}

// headings are the fragments by which a document's headings are reached.
func headings(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := slugged.ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}
