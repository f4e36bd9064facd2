package e2e_test

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const requirementsPage = "../docs/reference/requirements.md"

// families are the rows that the page must have, whatever the tests name: what MCP and its RFCs ask
// of an authorization server (AS, CC, EMA) and of a protected server (RS, SC), and attacks on each
// endpoint, on tokens, messages and tenants.
const families = "AS-01..AS-49 CC-01..CC-05 EMA-01..EMA-12 AZ-01..AZ-40 LG-01..LG-23 TK-01..TK-24 RT-01..RT-18 " +
	"CA-01..CA-17 " +
	"RV-01..RV-12 DR-01..DR-19 CM-01..CM-20 MD-01..MD-08 PA-01..PA-04 DP-01..DP-03 KY-01..KY-10 " +
	"RS-01..RS-41 SC-01..SC-09 JW-01..JW-21 JK-01..JK-07 MC-01..MC-31 TN-01..TN-11 DS-01..DS-12"

// issuerTenantCases are those of the resource side's tenant cases that the issuer must withstand as
// well.
var issuerTenantCases = []string{"TN-01", "TN-02", "TN-03", "TN-07", "TN-08", "TN-09", "TN-11"}

// row is a line of the page's tables: id, requirement, source, tests.
var row = regexp.MustCompile(`^\| ([A-Z]{2,3}-\d{2}) \| (.*) \| (.*) \| ?(.*) \|$`)

// TestRequirements holds docs/reference/requirements.md against the tests: every row has a test
// that names its id, or a line in e2e/testdata/divergences.txt that says why not; every id that a
// test names has a row; and the last column is true.
func TestRequirements(t *testing.T) {
	holders, diverges, atIssuer := map[string][]string{}, map[string]bool{}, map[string]bool{}
	for name, text := range written(t) {
		switch {
		case name == divergences:
			diverges = divergencesOf(t, text)
		case strings.HasSuffix(name, ".txtar"):
			for _, id := range mentioned(text) {
				holders[id] = append(holders[id], path.Base(name))
			}
		default:
			for id, tests := range testsOf(text, path.Base(path.Dir(name))) {
				holders[id] = append(holders[id], tests...)
				atIssuer[id] = atIssuer[id] || strings.HasPrefix(name, "authserver/")
			}
		}
	}
	raw, err := os.ReadFile(requirementsPage)
	must(t, err)
	lines, rows := strings.Split(string(raw), "\n"), map[string]bool{}
	for i, line := range lines {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		id := m[1]
		if rows[id] {
			t.Errorf("%s has two rows", id)
		}
		rows[id] = true
		held := heldBy(holders[id], diverges[id])
		if held == "" {
			t.Errorf("%s has neither a test that names it nor a line in e2e/testdata/divergences.txt", id)
		}
		if held != m[4] && !*update {
			t.Errorf("%s is held by %q and the page says %q; run go test ./e2e -run TestRequirements -update", id,
				held, m[4])
		}
		lines[i] = fmt.Sprintf("| %s | %s | %s | %s |", id, m[2], m[3], held)
	}
	for _, id := range mentioned(families) {
		if !rows[id] {
			t.Errorf("%s has no row", id)
		}
		if family, _, _ := strings.Cut(id, "-"); (family == "RS" || family == "SC") && len(holders[id]) == 0 {
			t.Errorf("%s has no test: what MCP asks of a protected server and its card has one in any case", id)
		}
	}
	for id := range holders {
		if !rows[id] && !strings.HasPrefix(id, "UTF-") {
			t.Errorf("%v name %s, which has no row", holders[id], id)
		}
	}
	for _, id := range issuerTenantCases {
		if !atIssuer[id] {
			t.Errorf("%s has no test at the authorization server", id)
		}
	}
	if *update {
		must(t, os.WriteFile(requirementsPage, []byte(strings.Join(lines, "\n")), 0o644))
	}
}

// divergences says which requirements docs/explanation/divergences.md is about.
const divergences = "e2e/testdata/divergences.txt"

// divergencesOf returns the requirements of that file, whose words must be in the page.
func divergencesOf(t *testing.T, text string) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../docs/explanation/divergences.md")
	must(t, err)
	found := map[string]bool{}
	for line := range strings.Lines(text) {
		id, words, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if !strings.Contains(string(page), words) {
			t.Errorf("docs/explanation/divergences.md does not say %q, which %s says of %s", words, divergences, id)
		}
		found[id] = true
	}
	return found
}

// heldBy writes the last column of a row: the tests that name it, three at most.
func heldBy(tests []string, diverges bool) string {
	slices.Sort(tests)
	tests = slices.Compact(tests)
	more := len(tests) - 3
	if more > 0 {
		tests = tests[:3]
	}
	held := strings.Join(tests, ", ")
	if more > 0 {
		held += fmt.Sprintf(" and %d more", more)
	}
	if diverges {
		held = strings.TrimPrefix(held+", [divergences](../explanation/divergences.md)", ", ")
	}
	return held
}

// written returns the tests, the scenarios and the page of divergences, by path.
func written(t *testing.T) map[string]string {
	t.Helper()
	return repository(t, func(name string) bool {
		// storetest, ttltest: tests of all stores
		kit := strings.HasSuffix(path.Dir(name), "test") && strings.HasSuffix(name, ".go")
		holds := kit || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".txtar") ||
			name == divergences
		return holds && name != "e2e/requirements_test.go"
	})
}

// testBegins finds the first line of a function that is a test, a fuzz target or a benchmark.
var testBegins = regexp.MustCompile(`^func (?:\([^)]*\) )?((?:Test|Fuzz|Benchmark)\w+|test\w+)\(`)

// testsOf returns which tests of a file name which ids: in their comment or in their body. What
// stands outside of tests belongs to the first test after it, or to the file's last one; in a file
// without tests to otherwise, the test kit's name.
func testsOf(text, otherwise string) map[string][]string {
	ids, waiting, test := map[string][]string{}, []string{}, ""
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := testBegins.FindStringSubmatch(line); m != nil {
			test, inside = m[1], true
			for _, id := range waiting {
				ids[id] = append(ids[id], test)
			}
			waiting = nil
		}
		for _, id := range mentioned(line) {
			if inside {
				ids[id] = append(ids[id], test)
			} else {
				waiting = append(waiting, id)
			}
		}
		if line == "}" {
			inside = false
		}
	}
	for _, id := range waiting {
		ids[id] = append(ids[id], cmp.Or(test, otherwise))
	}
	return ids
}

// mention is an id and what may follow it: "AZ-01 to AZ-05", "AS-42..AS-45", "AZ-24…28",
// "TK-07/08/09".
var mention = regexp.MustCompile(`\b([A-Z]{2,3})-(\d{2})\b(?:(?: to ` +
	`|\.\.|…|–)(?:([A-Z]{2,3})-)?(\d{2})\b|((?:/\d{2})+)\b)?`)

// mentioned are the ids that a text names, each by itself.
func mentioned(text string) []string {
	var ids []string
	for _, m := range mention.FindAllStringSubmatch(text, -1) {
		family, first, last := m[1], number(m[2]), number(m[2])
		if m[4] != "" && (m[3] == "" || m[3] == family) {
			last = number(m[4])
		}
		ids = append(ids, numbered(family, first, last)...)
		for more := range strings.SplitSeq(strings.TrimPrefix(m[5], "/"), "/") {
			if more != "" {
				ids = append(ids, numbered(family, number(more), number(more))...)
			}
		}
		if m[3] != "" && m[3] != family { // "AZ-40..LG-02" is no range: the second stands by itself
			ids = append(ids, numbered(m[3], number(m[4]), number(m[4]))...)
		}
	}
	return ids
}

func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		panic(err) // the pattern has found digits
	}
	return n
}

func TestMentionedReadsRanges(t *testing.T) {
	for text, want := range map[string]string{
		"// AZ-01": "AZ-01", "AZ-01, LG-02: and": "AZ-01 LG-02", "AZ-01 to AZ-03, AZ-05": "AZ-01 AZ-02 AZ-03 AZ-05",
		"AS-42..AS-44.": "AS-42 AS-43 AS-44", "AZ-24…26": "AZ-24 AZ-25 AZ-26", "TK-07/08/10": "TK-07 TK-08 TK-10",
		"(EMA-01–03)": "EMA-01 EMA-02 EMA-03", "AZ-40..LG-02": "AZ-40 LG-02", "AZ-01 to 0x3": "AZ-01",
		"SHA-256 UTF-8 AZ-1 XAZZ-01": "", "AZ-05 to AZ-04": "",
	} {
		if got := strings.Join(mentioned(text), " "); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
func numbered(family string, from, to int) []string {
	var ids []string
	for n := from; n <= to; n++ {
		ids = append(ids, fmt.Sprintf("%s-%02d", family, n))
	}
	return ids
}
