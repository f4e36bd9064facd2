package e2e_test

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oldSDK builds the server of go-sdk 1.4.0 and says so by what is in the program.
func oldSDK(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "oldsdk")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir, build.Env = "oldsdk", append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(program)
	must(t, err)
	for _, module := range info.Deps {
		if module.Path == "github.com/modelcontextprotocol/go-sdk" && module.Version == "v1.4.0" &&
			module.Replace == nil {
			return program
		}
	}
	t.Fatalf("the server is not of go-sdk v1.4.0: %v", info.Deps)
	return ""
}

// oldRun is a call as the old server read it.
type oldRun struct {
	Tool   string
	ID     string
	Amount int
	Region string
}

// oldRuns are the calls in a server's file.
func oldRuns(t *testing.T, file string) (runs []oldRun) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	for line := range strings.Lines(string(text)) {
		var r oldRun
		must(t, json.Unmarshal([]byte(line), &r))
		runs = append(runs, r)
	}
	return runs
}

// twinOf is a spelling of a name that some reader takes for the name.
func twinOf(r *rand.Rand, name string) string {
	switch r.IntN(10) {
	case 0:
		return strings.ToUpper(name[:1]) + name[1:]
	case 1:
		return strings.NewReplacer("s", "\u017f", "k", "\u212a").Replace(strings.ToUpper(name[:1]) + name[1:])
	case 2:
		return fmt.Sprintf(`\u%04x%s`, name[0], name[1:])
	case 3:
		return name + fmt.Sprintf(`\u%04x`, r.IntN(0x20))
	case 4:
		return name[:1] + `\u0000` + name[1:]
	}
	return name + strings.Repeat(`\u0000`, 1+r.IntN(3))
}

// envelopes are calls of get_note within its bounds to one reader, and to another maybe something
// else.
func envelopes(count int) []string {
	r := rand.New(rand.NewPCG(2026, 11))
	member := func(name, value string) string { return `"` + name + `":` + value }
	// with puts the twin of a member before or after the others.
	with := func(evil string, members ...string) string {
		if r.IntN(3) == 0 {
			members = append([]string{evil}, members...)
		} else {
			members = append(members, evil)
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	plain := func(members ...string) string { return "{" + strings.Join(members, ",") + "}" }
	var all []string
	for i := range count {
		id := fmt.Sprintf("%q", fmt.Sprint("n", i))
		arguments := plain(member("id", id), member("amount", "5"))
		evil := plain(member("name", `"put_note"`), member("arguments", plain(member("id", id))))
		params := plain(member("name", `"get_note"`), member("arguments", arguments))
		head := []string{member("jsonrpc", `"2.0"`), member("id", fmt.Sprint(i+1))}
		switch i % 7 {
		case 0:
			params = with(member(twinOf(r, "name"), `"put_note"`), member("name", `"get_note"`),
				member("arguments", arguments))
		case 1:
			params = with(member(twinOf(r, "arguments"), plain(member("id", id), member("amount", "500"))),
				member("name", `"get_note"`), member("arguments", arguments))
		case 2:
			arguments = with(member(twinOf(r, "amount"), "500"), member("id", id), member("amount", "5"))
			params = plain(member("name", `"get_note"`), member("arguments", arguments))
		case 3:
			arguments = with(member(twinOf(r, "region"), `"us"`), member("id", id))
			params = plain(member("name", `"get_note"`), member("arguments", arguments))
		case 4:
			all = append(all,
				with(member(twinOf(r, "params"), evil),
					append(head, member("method", `"tools/call"`), member("params", params))...))
			continue
		case 5:
			all = append(all,
				with(member(twinOf(r, "method"), `"tools/call"`),
					append(head, member("method", `"ping"`), member("params", evil))...))
			continue
		case 6:
			params = plain(member("name", `"get_note"`), member("arguments", arguments),
				member("_meta", plain(member(twinOf(r, "progressToken"), "1"))))
		}
		all = append(all, plain(append(head, member("method", `"tools/call"`), member("params", params))...))
	}
	return all
}

// TestAnOldServerRunsNothingThatWasNotDecidedOn: a server whose reader takes other names for the
// known ones runs, of 200 generated envelopes, no tool but the one that the caller may call, and
// that within its bounds and with what is pinned; over HTTP and as a program. By itself it runs
// other ones.
func TestAnOldServerRunsNothingThatWasNotDecidedOn(t *testing.T) {
	program, folder := oldSDK(t), t.TempDir()
	all := envelopes(200)
	wrong := func(r oldRun) bool { return r.Tool != "get_note" || r.Amount > 100 || r.Region != "eu" }
	const rules = `    scopes: [{name: read, description: Read, baseline: true}, {name: write, description: Write}]
    tools: [{name: get_note, scopes: [read]}, {name: put_note, scopes: [write], write: true}]
    tenants: {acme: [{name: get_note, arguments: {region: {const: eu}, amount: {maximum: 100}}}]}
`
	client := &http.Client{Timeout: 20 * time.Second}
	post := func(url, raw, body string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		must(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		if raw != "" {
			r.Header.Set("Authorization", "Bearer "+raw)
		}
		w, err := client.Do(r)
		must(t, err)
		defer w.Body.Close()
		_, err = io.Copy(io.Discard, w.Body)
		must(t, err)
		return w.StatusCode
	}
	start := func(file string) string {
		port := freePort(t)
		begin(t, port, exec.Command(program, "-http", "127.0.0.1:"+port, "-runs", file))
		return "http://127.0.0.1:" + port + "/"
	}
	t.Run("by itself", func(t *testing.T) {
		file := filepath.Join(folder, "itself")
		url, others := start(file), 0
		for _, body := range all {
			post(url, "", body)
		}
		for _, r := range oldRuns(t, file) {
			if r.Tool != "get_note" || r.Amount > 100 || r.Region == "us" {
				others++
			}
		}
		if others < 60 {
			t.Errorf("only %d of %d envelopes are otherwise to the server: the test asks nothing", others, len(all))
		}
		t.Logf("%d of %d envelopes are otherwise to the server by itself", others, len(all))
	})
	for _, kind := range []string{"over HTTP", "as a program"} {
		t.Run(kind, func(t *testing.T) {
			file := filepath.Join(folder, strings.ReplaceAll(kind, " ", "-"))
			where := fmt.Sprintf("    command: [%q, \"-runs\", %q]\n", program, file)
			if kind == "over HTTP" {
				where = "    url: " + start(file) + "\n"
			}
			f := openFence(t, "  - name: notes\n    resource: $URL/notes\n"+where+rules, nil)
			raw := f.token("notes", "acme", "read")
			passed := 0
			for _, body := range all {
				if post(f.url+"/notes", raw, body) == http.StatusOK {
					passed++
				}
			}
			runs := oldRuns(t, file)
			for _, r := range runs {
				if wrong(r) {
					t.Errorf("the server ran %+v", r)
				}
			}
			if len(runs) == 0 || passed == 0 {
				t.Error("no envelope passed: the test asks nothing")
			}
			t.Logf("%d of %d envelopes passed, %d calls ran, none other than was decided", passed, len(all), len(runs))
		})
	}
}
