package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// welcome is what serve prints: the addresses, and commands to continue with.
type welcome struct {
	*settings
	fresh bool // the demo was created by this start
}

func (w *welcome) print(to io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n\n", Name, Version)
	fmt.Fprintf(&b, "  issuer      %s\n", w.issuer)
	fmt.Fprintf(&b, "  MCP server  %s\n", w.resource)
	fmt.Fprintf(&b, "  data        %s (%s)\n", w.dataDir, w.stores())
	signIns, err := os.ReadFile(filepath.Join(w.dataDir, signInsName))
	switch {
	case w.fresh && err == nil:
		fmt.Fprintf(&b, "\nDemo sign-ins, shown this once and kept in %s:\n\n", filepath.Join(w.dataDir, signInsName))
		for line := range strings.Lines(string(signIns)) {
			b.WriteString("  " + line)
		}
	case err == nil:
		fmt.Fprintf(&b, "  sign-ins    %s\n", filepath.Join(w.dataDir, signInsName))
	}
	fmt.Fprintf(&b, "\nConnect Claude Code:\n\n  claude mcp add --transport http gatehouse %s\n", w.resource)
	if _, err := os.Stat(filepath.Join(w.dataDir, machineName)); err == nil {
		w.lines(&b)
	} else {
		fmt.Fprintf(&b, "\nBegin with a tenant:\n\n  %s tenant create --id acme --name 'Acme Corporation'%s\n", Name,
			w.dataFlag())
	}
	fmt.Fprintf(&b, "\nCtrl-C stops it.\n\n")
	_, err = io.WriteString(to, b.String())
	return err
}

// lines are commands to paste: they get a token with a machine client's secret, which curl reads
// from a file, and call a tool.
func (w *welcome) lines(b *strings.Builder) {
	fmt.Fprintf(b, "\nCall a tool from a shell:\n\n")
	fmt.Fprintf(b, "  TOKEN=$(curl -s -K %s %s/oauth2/token \\\n    -d grant_type=client_credentials -d resource=%s "+
		"\\\n    | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\n",
		quote(filepath.Join(w.dataDir, machineName)), w.issuer, w.resource)
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"search_knowledge_base",` +
			`"arguments":{"query":"rocket sled"}}}`,
	} {
		fmt.Fprintf(b, "  curl -s %s -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n",
			w.resource)
		fmt.Fprintf(b, "    -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2025-11-25' "+
			"\\\n    -d '%s'\n\n", body)
	}
	fmt.Fprintf(b, "The same with the MCP Inspector, which needs Node 22.19 or newer:\n\n")
	fmt.Fprintf(b, "  npx @modelcontextprotocol/inspector@latest --cli %s --transport http --method tools/list "+
		"\\\n    --header \"Authorization: Bearer $TOKEN\"\n", w.resource)
}

func (w *welcome) stores() string {
	store := "SQLite"
	if !w.embedded() {
		store = "the database is PostgreSQL"
	}
	if w.redis != "" {
		store += ", with Redis"
	}
	return store
}

func (w *welcome) dataFlag() string {
	if here, err := filepath.Abs("./data"); err == nil && here == w.dataDir {
		return ""
	}
	return " --data-dir " + quote(w.dataDir)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9/._~:@%+=-]+$`)

// quote quotes a word for a shell.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
