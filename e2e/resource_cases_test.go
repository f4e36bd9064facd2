package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// resourceCases are the ids of the cases that the resource side is examined by, each a family with its first and last number: RS what MCP asks of a protected server,
// SC of its card; JW attacks by tokens, JK by keys, MC by messages and the transport, TN by arguments and tenants, DS by exhaustion.
const resourceCases = "RS-01..RS-41 SC-01..SC-09 JW-01..JW-21 JK-01..JK-07 MC-01..MC-31 TN-01..TN-11 DS-01..DS-12"

// TestEveryResourceCaseHasATest: each case has a test that carries its id, or stands in docs/divergences.md with the reason why it does not apply. What MCP asks of a
// protected server and its card has a test in any case.
func TestEveryResourceCaseHasATest(t *testing.T) {
	named := map[string][]string{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "node_modules" || name == "data" || name == "bin") {
			return fs.SkipDir
		}
		isTest := strings.HasSuffix(name, "_test.go") && base != "resource_cases_test.go" && base != "cases_test.go"
		if d.IsDir() || !isTest && !strings.HasPrefix(name, "e2e/scenarios/") && name != "docs/divergences.md" {
			return nil
		}
		text, err := os.ReadFile("../" + name)
		if err != nil {
			return err
		}
		for _, id := range casesIn(string(text)) {
			named[id] = append(named[id], name)
		}
		return nil
	})
	must(t, err)
	for _, id := range casesIn(resourceCases) {
		tests := slices.DeleteFunc(slices.Clone(named[id]), func(name string) bool { return name == "docs/divergences.md" })
		switch {
		case len(named[id]) == 0:
			t.Errorf("%s: no test carries it, and docs/divergences.md does not say why", id)
		case len(tests) == 0 && (strings.HasPrefix(id, "RS-") || strings.HasPrefix(id, "SC-")):
			t.Errorf("%s: no test carries it", id)
		}
	}
}

// caseID is an id, and what may follow it: "MC-10 to MC-14", "MC-10..MC-14", "JW-07/08".
var caseID = regexp.MustCompile(`\b([A-Z]{2})-([0-9]{2})(?:(?: to |\.\.)([A-Z]{2})-([0-9]{2})\b|((?:/[0-9]{2})+)\b)?`)

// casesIn finds the ids in a text, each once.
func casesIn(text string) []string {
	var found []string
	add := func(family string, n int) {
		if id := fmt.Sprintf("%s-%02d", family, n); !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	for _, m := range caseID.FindAllStringSubmatch(text, -1) {
		first, _ := strconv.Atoi(m[2]) // two digits
		add(m[1], first)
		if m[3] == m[1] {
			last, _ := strconv.Atoi(m[4])
			for n := first; n <= last; n++ {
				add(m[1], n)
			}
		}
		for part := range strings.SplitSeq(m[5], "/") {
			if n, err := strconv.Atoi(part); err == nil {
				add(m[1], n)
			}
		}
	}
	return found
}

func TestHowCasesAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"MC-10 to MC-12, RS-21": "MC-10 MC-11 MC-12 RS-21", "RS-01..RS-03": "RS-01 RS-02 RS-03", "JW-07/08": "JW-07 JW-08", "S6, MC-23: x": "MC-23", "RFC-9728 UTF-8 S-13": "", "MC-30 to RS-31": "MC-30",
	} {
		if got := strings.Join(casesIn(text), " "); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
