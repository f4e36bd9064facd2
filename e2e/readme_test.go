package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/cli"
)

// documents are followed in this order, on one running product: what an earlier one makes, a later
// one uses.
var documents = []string{
	"README.md", "docs/guides/connect-a-client.md", "docs/guides/machine-clients.md",
	"docs/guides/sign-in-with-gatehouse.md", "docs/guides/gateway.md", "docs/reference/cli.md",
	"docs/guides/people-roles-policies.md", "docs/guides/apply.md", "docs/guides/refused-clients.md",
	"docs/guides/roll-out-enforcement.md", "docs/guides/incident-response.md", "docs/guides/offboarding.md",
	"docs/guides/rotate-keys.md", "docs/guides/backup.md", "docs/guides/upgrade.md", "docs/guides/monitor.md",
	"docs/reference/audit.md", "docs/reference/retention.md", "docs/reference/settings.md",
	"docs/deploy/single-host.md", "docs/deploy/compose.md", "docs/deploy/replicas.md",
	"docs/explanation/trust.md", "docs/explanation/revocation.md", "docs/explanation/audit-proof.md",
	"docs/get-started.md", // last, because it revokes what it allowed
}

// followedText returns the documents one after another.
func followedText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, name := range documents {
		text, err := os.ReadFile(filepath.Join("..", name))
		must(t, err)
		all.WriteString("\n" + string(text))
	}
	return all.String()
}

// apart are blocks that this test does not follow, by their first line: those that begin a server
// or need hosts and programs of their own, or are this test.
var apart = []string{
	"make run", "make test", `export GATEHOUSE_KEY_ENCRYPTION_KEY=`, "TOKEN=$(curl",
	"gatehouse gateway init --upstream http://127.0.0.1:9000/mcp",
	"export GATEHOUSE_DATABASE='postgres://gatehouse@db/gatehouse'",
	"gatehouse client create --server https://mcp.example.com/mcp",
}

// TestTheReadmeIsFollowed follows the README and the documents that it links to word for word:
// their commands in a shell, in their order, on a product that runs with its demo. Only what they
// cannot know is put in: ports, and ids where they say "…".
func TestTheReadmeIsFollowed(t *testing.T) {
	readme := followedText(t)
	h := open(t)
	a := &agent{house: h}
	s := openShell(t, h.DataDir)
	followed := 0
	for _, block := range blocks(readme) {
		first, _, _ := strings.Cut(block, "\n")
		if name, ok := strings.CutPrefix(first, "# "); ok && strings.HasSuffix(name, ".yaml") { // a file
			must(t, os.WriteFile(filepath.Join(s.dir, name), []byte(block), 0o600))
			continue
		}
		if slices.ContainsFunc(apart, func(begins string) bool { return strings.HasPrefix(first, begins) }) {
			continue
		}
		followed++
		if strings.Contains(block, "cli_…") && a.id == "" { // somebody has tried, and was not authorized
			got, err := a.register(map[string]any{"client_name": "Agent Smith", "redirect_uris": []string{callback},
				"token_endpoint_auth_method": "none"}, "")
			must(t, err)
			if a.code = "never-made"; got.status != 201 {
				t.Fatalf("registering: %s", got)
			}
			_, err = a.redeem()
			must(t, err)
		}
		if strings.Contains(block, "con_…") {
			block = strings.ReplaceAll(block, "con_…",
				s.found(t, "gatehouse attempt list --json", `"id":\s*"(con_[^"]+)"`))
		}
		block = strings.NewReplacer("cli_…", a.id, "http://localhost:8080", h.Issuer, "http://localhost:8081/mcp",
			h.Resource).Replace(block)
		out, err := s.run(block)
		if err != nil || strings.HasPrefix(block, "curl") && !strings.Contains(out, `"access_token":"`) {
			t.Errorf("the README says\n%s\nand it answers %v:\n%s", block, err, out)
		}
		s.remember(out)
	}
	if followed < 8 {
		t.Errorf("%d blocks were followed, want 8 at least", followed)
	}
	s.mentions(t, readme)
}

// languages are the blocks that say which language they are in.
var languages = regexp.MustCompile("(?s)\n```[a-z]+\n.*?\n```\n")

// blocks are what stands between ``` and ```.
func blocks(text string) (found []string) {
	text = languages.ReplaceAllString(text, "") // a block in another language is no shell's
	for i, part := range strings.Split(text, "\n```\n") {
		if i%2 == 1 {
			found = append(found, part)
		}
	}
	return found
}

// mentions holds the commands that the README names in its text against the program: each has a
// help, which knows the flags.
func (s *shell) mentions(t *testing.T, readme string) {
	t.Helper()
	checked := 0
	settings, err := s.run("gatehouse settings")
	if err != nil {
		t.Fatal(err, settings)
	}
	for _, m := range regexp.MustCompile("`gatehouse ([^`]+)`").FindAllStringSubmatch(readme, -1) {
		words := strings.Fields(strings.ReplaceAll(m[1], `\|`, "|"))
		verbs := []string{""}
		if len(words) > 1 && regexp.MustCompile(`^[a-z|-]+$`).MatchString(words[1]) &&
			!strings.HasPrefix(words[1], "-") {
			verbs = strings.Split(words[1], "|")
		}
		for _, verb := range verbs {
			checked++
			help, err := s.run("gatehouse " + words[0] + " " + verb + " -h")
			if err != nil {
				t.Errorf("the README names %q: %v\n%s", m[0], err, help)
			}
			help += settings
			for _, w := range words {
				name, _, _ := strings.Cut(strings.Trim(w, "[]"), "=")
				if strings.HasPrefix(name, "--") && !strings.Contains(help, name+" ") &&
					!strings.Contains(help, name+"\n") {
					t.Errorf("the README names %q, whose help has no %s:\n%s", m[0], name, help)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("%d commands were found in the text, want 40 at least", checked)
	}
}

// shell is a bash in which gatehouse is this program, on the product's data directory.
type shell struct {
	dir string
	env []string
}

func openShell(t *testing.T, data string) *shell {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash on this machine: the README's commands are not followed")
	}
	program, err := os.Executable()
	must(t, err)
	s := &shell{dir: t.TempDir()}
	must(t, os.Mkdir(filepath.Join(s.dir, "bin"), 0o700))
	must(t, os.WriteFile(filepath.Join(s.dir, "bin", "gatehouse"),
		[]byte("#!"+bash+"\n"+runGatehouse+"=1 exec '"+program+"' \"$@\"\n"), 0o700))
	s.env = append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"GATEHOUSE_DATA_DIR="+data,
		// otherwise the race detector sleeps for a second at the end of each of a hundred commands
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	return s
}

// run runs lines, and stops at the first that does not succeed.
func (s *shell) run(lines string) (out string, err error) {
	c := exec.Command("bash", "-euo", "pipefail", "-c", lines)
	c.Dir, c.Env = s.dir, s.env
	b, err := c.CombinedOutput()
	return string(b), err
}

func (s *shell) found(t *testing.T, command, pattern string) string {
	t.Helper()
	out, err := s.run(command)
	must(t, err)
	m := regexp.MustCompile(pattern).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("%s: there is no %s in\n%s", command, pattern, out)
	}
	return m[1]
}

// remember sets what a command printed and the README uses by its name.
func (s *shell) remember(out string) {
	for _, m := range regexp.MustCompile(`(?m)^(client_id|client_secret)\W+(\S+)`).FindAllStringSubmatch(out, -1) {
		s.env = append(s.env, strings.ToUpper(m[1])+"="+m[2])
	}
}

// runGatehouse, set in the environment, makes this program the gatehouse command.
const runGatehouse = "E2E_RUN_GATEHOUSE"

// asGatehouse is the gatehouse command.
func asGatehouse() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &cli.Program{Args: os.Args[1:], Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	return p.Run(ctx)
}
