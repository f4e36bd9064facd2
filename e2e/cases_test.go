package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// cases are the rows of what MCP asks of an authorization server (AS, CC, EMA) and of the attacks that it must withstand (the others), and of its keys and secrets (KY): so many of each family,
// numbered from 01. Every one has a test that names it, or a line in docs/divergences.md that says why not.
var cases = []struct {
	family string
	many   int
}{
	{"AS", 49},  // the authorization server: metadata, authorization, tokens, registration
	{"CC", 5},   // client credentials
	{"EMA", 12}, // enterprise-managed authorization
	{"AZ", 40},  // the authorization endpoint
	{"LG", 23},  // signing in, sessions, consent
	{"TK", 24},  // the token endpoint
	{"RT", 18},  // refresh tokens
	{"CA", 17},  // how clients prove who they are
	{"RV", 12},  // revocation and introspection
	{"DR", 19},  // registration
	{"CM", 20},  // clients known by a document
	{"MD", 8},   // metadata and keys
	{"PA", 4},   // pushed requests
	{"DP", 3},   // proof of possession
	{"KY", 10},  // keys and secrets
}

// issuerTenantCases are those of the resource side's tenant cases that the issuer must withstand as well.
var issuerTenantCases = []string{"TN-01", "TN-02", "TN-03", "TN-07", "TN-08", "TN-09", "TN-11"}

func numbered(family string, from, to int) []string {
	var ids []string
	for n := from; n <= to; n++ {
		ids = append(ids, fmt.Sprintf("%s-%02d", family, n))
	}
	return ids
}

// TestEveryCaseHasATestOrALine reads the tests, the scenarios and the page of divergences as they are.
func TestEveryCaseHasATestOrALine(t *testing.T) {
	named, atIssuer := map[string]bool{}, map[string]bool{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && name != "." && (strings.HasPrefix(path.Base(name), ".") || path.Base(name) == "node_modules" || name == "data" || name == "bin") {
				return fs.SkipDir
			}
			return err
		}
		speaks := strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".txtar") || name == "docs/divergences.md"
		if !speaks || name == "e2e/cases_test.go" {
			return nil
		}
		text, err := os.ReadFile(path.Join("..", name))
		for _, id := range mentioned(string(text)) {
			named[id] = true
			atIssuer[id] = atIssuer[id] || strings.HasPrefix(name, "authserver/")
		}
		return err
	})
	must(t, err)
	var missing []string
	for _, c := range cases {
		for _, id := range numbered(c.family, 1, c.many) {
			if !named[id] {
				missing = append(missing, id)
			}
		}
	}
	for _, id := range issuerTenantCases {
		if !atIssuer[id] {
			missing = append(missing, id+" at the issuer")
		}
	}
	if len(missing) > 0 {
		t.Errorf("%d cases have neither a test that names them nor a line in docs/divergences.md: %s", len(missing), strings.Join(missing, " "))
	}
}

// mention is an id and what may follow it: "AZ-01 to AZ-05", "AS-42..AS-45", "AZ-24…28", "TK-07/08/09".
var mention = regexp.MustCompile(`\b([A-Z]{2,3})-(\d{2})\b(?:(?: to |\.\.|…|–)(?:([A-Z]{2,3})-)?(\d{2})\b|((?:/\d{2})+)\b)?`)

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
		"// AZ-01": "AZ-01", "AZ-01, LG-02: and": "AZ-01 LG-02", "AZ-01 to AZ-03, AZ-05": "AZ-01 AZ-02 AZ-03 AZ-05", "AS-42..AS-44.": "AS-42 AS-43 AS-44", "AZ-24…26": "AZ-24 AZ-25 AZ-26", "TK-07/08/10": "TK-07 TK-08 TK-10",
		"(EMA-01–03)": "EMA-01 EMA-02 EMA-03", "AZ-40..LG-02": "AZ-40 LG-02", "AZ-01 to 0x3": "AZ-01", "SHA-256 UTF-8 AZ-1 XAZZ-01": "", "AZ-05 to AZ-04": "",
	} {
		if got := strings.Join(mentioned(text), " "); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
