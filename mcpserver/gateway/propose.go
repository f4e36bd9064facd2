package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"

	_ "embed"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/stdio"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/toolcatalog"
	httpupstream "github.com/gatehouse-mcp/gatehouse/mcpserver/internal/upstream"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// Existing describes a server for which a configuration is proposed.
type Existing struct {
	URL     string   // for Streamable HTTP; either this
	Command []string // or the command that starts it
	Tenant  string   // tenant of the process of a command; default "demo"
	// Environment are the names of the environment variables that a command gets in addition to
	// PATH, now and in the configuration. With HOME, all tenants share it.
	Environment []string
	// CA, ClientCertificate and ClientKey are PEM files for a server at an https URL, as in
	// Upstream.
	CA, ClientCertificate, ClientKey string

	Name     string       // a-z, 0-9 and hyphens; default: from the server's own name
	Issuer   string       // default http://localhost:8080
	Resource string       // default http://localhost:8090/ and the name
	Log      *slog.Logger // output of a program, and errors of the server; nil: none
	// Credential is the credential for a server at a URL, now and in the configuration. Its secret
	// is read from the environment and is not in the proposal. Default: none.
	Credential Credential
	Getenv     func(string) string // for Credential and Environment; nil: an empty environment
}

// Proposal is a configuration with a scope for each tool that the server has now.
type Proposal struct {
	Name      string
	Resource  string
	Config    []byte // of gateway.yaml
	Resources []byte // for the issuer's list of resources, JSON
	Tools     int
	lock      toolcatalog.Lock
}

// WriteLock approves the tools as they are now.
func (p *Proposal) WriteLock(config string) error { return p.lock.Write(LockPath(config)) }

// LockPath returns the lock file of a configuration.
func LockPath(config string) string {
	return strings.TrimSuffix(strings.TrimSuffix(config, ".yaml"), ".yml") + ".lock"
}

// Propose reads what a server offers and returns a configuration for it.
func Propose(ctx context.Context, e Existing) (*Proposal, error) {
	fill(&e.Tenant, "demo")
	if strings.EqualFold(e.Credential.Header, "Authorization") {
		fill(&e.Credential.Prefix, "Bearer ")
	}
	if err := e.settle(); err != nil {
		return nil, err
	}
	var met trouble
	server, forget, err := e.reach(&met)
	if err != nil {
		return nil, err
	}
	defer forget()
	caller := mcp.Caller{TenantID: e.Tenant}
	offer, err := toolcatalog.Read(ctx,
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { server.Serve(w, r, caller) }))
	if err != nil {
		return nil, met.cause(ctx, server, caller, err)
	}
	if e.Name == "" {
		e.Name = nameOf(offer.Name)
	}
	if !isName(e.Name) {
		return nil, fmt.Errorf("the name %q is not 1 to 32 characters of a-z, 0-9 and hyphens", e.Name)
	}
	fill(&e.Issuer, "http://localhost:8080")
	fill(&e.Resource, "http://localhost:8090/"+e.Name)
	p := &Proposal{Name: e.Name, Resource: e.Resource, Tools: len(offer.Tools), lock: toolcatalog.NewLock()}
	p.lock.Approve(e.Name, offer.Tools)
	s := &sketch{Existing: e, Server: offer, Listen: listenFor(e.Resource)}
	for _, t := range offer.Tools {
		s.Tools = append(s.Tools, proposed{
			Name: t.Name, Closed: notOpened(t.Name, message.IsName(t.Name)), Scope: e.scope(t.Writes()),
			Write:       t.Writes(),
			Description: oneLine(t.Description), Suspicions: toolcatalog.Suspicions(t),
		})
	}
	for _, name := range offer.Unread {
		s.Unread = append(s.Unread, show(name))
	}
	for _, name := range offer.Prompts {
		plain := name != "" && oneLine(name) == name && !strings.Contains(name, "*") // prompts may have any name
		s.Prompts = append(s.Prompts, proposed{Name: name, Closed: notOpened(name, plain), Scope: e.scope(false)})
	}
	if p.Config, err = s.write(); err != nil {
		return nil, err
	}
	p.Resources = s.resources()
	f, err := parse(p.Config)
	if err != nil {
		return nil, fmt.Errorf("the proposed configuration is not valid: %w", err)
	}
	return p, f.check()
}

// listenFor returns the listen address for a resource: its port, if it is on this machine.
func listenFor(resource string) string {
	u, err := url.Parse(resource)
	if err != nil || u.Port() == "" || !config.ThisMachine(u.Hostname()) {
		return defaultListen
	}
	return net.JoinHostPort("127.0.0.1", u.Port())
}

// reach returns the connection to the server. It checks first what the configuration could not
// have. forget closes it.
func (e Existing) reach(met *trouble) (_ server, forget func(), err error) {
	way := &Upstream{
		URL: e.URL, Command: e.Command, Credential: e.Credential, Environment: e.Environment,
		CA: e.CA, ClientCertificate: e.ClientCertificate, ClientKey: e.ClientKey,
	}
	if err := (&File{}).checkWay(way); err != nil {
		return nil, nil, err
	}
	if len(e.Command) > 0 {
		state, err := os.MkdirTemp("", "gatehouse-init-") // as the gateway will start it, leaving nothing behind
		if err != nil {
			return nil, nil, fmt.Errorf("make folder for the program: %w", err)
		}
		p := stdio.New(stdio.Config{
			Name: "upstream", Command: e.Command, StateFolder: state, Environment: way.environ(e.Getenv),
			TenantVariable: defaultTenantEnv, Log: e.Log,
			Limits: stdio.Limits{Start: startFirst}, Trouble: met.meet,
		})
		return p, func() { _, _ = p.Close(), os.RemoveAll(state) }, nil
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		return nil, nil, err
	}
	secured, err := way.tls()
	if err != nil {
		return nil, nil, err
	}
	c := httpupstream.Config{Name: "upstream", URL: u, TLS: secured, Log: e.Log, Trouble: met.meet}
	if e.Credential != (Credential{}) {
		if c.Credential, err = e.Credential.show(e.Getenv); err != nil {
			return nil, nil, err
		}
	}
	s := httpupstream.New(c)
	return s, func() { _ = s.Close() }, nil
}

// startFirst is how long a program may take to start that is perhaps downloaded first.
const startFirst = 2 * time.Minute

// settle sets defaults, and makes files and the command independent of the folder: programs and
// arguments that name files become absolute paths.
func (e *Existing) settle() error {
	for _, file := range []*string{&e.CA, &e.ClientCertificate, &e.ClientKey} {
		if *file == "" {
			continue
		}
		whole, err := filepath.Abs(*file)
		if err != nil {
			return fmt.Errorf("%s: %w", *file, err)
		}
		*file = whole
	}
	if e.Getenv == nil {
		e.Getenv = func(string) string { return "" }
	}
	if len(e.Command) == 0 {
		return nil
	}
	if !slices.Contains(e.Environment, "PATH") {
		e.Environment = append([]string{"PATH"}, e.Environment...)
	}
	e.Command = slices.Clone(e.Command)
	for i, word := range e.Command {
		dots := word == "." || word == ".." || strings.HasPrefix(word, "./") || strings.HasPrefix(word, "../")
		info, err := os.Stat(word)
		isFile := err == nil && info.Mode().IsRegular()
		if i == 0 && !strings.ContainsRune(word, filepath.Separator) || filepath.IsAbs(word) || !dots && !isFile {
			continue
		}
		whole, err := filepath.Abs(word)
		if err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		e.Command[i] = whole
	}
	return nil
}

// SharesHome reports whether all tenants' processes have the gateway's HOME.
func (e Existing) SharesHome() bool { return slices.Contains(e.Environment, "HOME") }

// Fetches reports whether the command downloads its program when it first starts in a HOME.
func (e Existing) Fetches() bool {
	return len(e.Command) > 0 &&
		slices.Contains([]string{"npx", "npm", "pnpm", "yarn", "bunx", "bun", "uvx", "uv", "pipx", "docker", "podman",
			"go"}, filepath.Base(e.Command[0]))
}

// Remembers reports whether the server is the reference memory server, which stores a file beside
// its program, or a similar one.
func (s *sketch) Remembers() bool {
	return strings.Contains(strings.ToLower(s.Server.Name), "memory")
}

func (e Existing) scope(writes bool) string {
	if writes {
		return e.Name + ":write"
	}
	return e.Name + ":read"
}

// sketch is a configuration before it is written.
type sketch struct {
	Existing
	Listen string
	Server toolcatalog.Offer
	Tools  []proposed

	Prompts []proposed
	Unread  []string
}

// proposed is a tool or prompt for which a rule is proposed.
type proposed struct {
	Name        string
	Closed      string // why its rule is commented out; empty: it is not
	Scope       string
	Write       bool
	Description string
	Suspicions  []string
}

// notOpened returns why the rule of a name is commented out, or "".
func notOpened(name string, plain bool) string {
	switch {
	case plain:
		return ""
	case name == "":
		return "it has no name"
	}
	return "its name has characters that a name must not have, or is too long (MCP, \"Tool Names\")"
}

// rule returns the rule as YAML on one line. A "*" in the name is an ordinary character.
func (p proposed) rule() (string, error) {
	name, err := quote(p.Name)
	if err != nil {
		return "", err
	}
	if strings.Contains(p.Name, "*") {
		name += ", exact: true"
	}
	scope, err := quote(p.Scope)
	if err != nil {
		return "", err
	}
	line := "- {name: " + name + ", scopes: [" + scope + "]"
	if p.Write {
		line += ", write: true"
	}
	return line + "}", nil
}

//go:embed proposal.yaml
var proposalText string

// write executes the template. Everything from the server is quoted: it is text, never YAML.
func (s *sketch) write() ([]byte, error) {
	t, err := template.New("proposal").Funcs(template.FuncMap{"quote": quote, "rule": proposed.rule}).Parse(
		proposalText)
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, s); err != nil {
		return nil, fmt.Errorf("write proposal: %w", err)
	}
	return []byte(b.String()), nil
}

// quote quotes text for YAML on one line, as a JSON string in which invisible characters and line
// ends are escaped.
func quote(s string) (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, c := range string(b) {
		switch {
		case unicode.IsPrint(c):
			out.WriteRune(c)
		case c <= 0xFFFF:
			fmt.Fprintf(&out, `\u%04X`, c)
		default:
			fmt.Fprintf(&out, `\U%08X`, c)
		}
	}
	return out.String(), nil
}

// oneLine makes text safe for a comment: without line ends and invisible characters.
func oneLine(s string) string {
	s = text.Line(s, 0)
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100]) + "…"
	}
	return s
}

// nameOf makes a name from the server's own.
func nameOf(s string) string {
	s = strings.Trim(strings.Map(func(c rune) rune {
		c = unicode.ToLower(c)
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, s), "-")
	for strings.Contains(s, "--") {
		s = strings.ReplaceAll(s, "--", "-")
	}
	if len(s) > 32 {
		s = strings.Trim(s[:32], "-")
	}
	if s == "" {
		return "upstream"
	}
	return s
}

// resources returns the resource for the issuer's list.
func (s *sketch) resources() []byte {
	type scope struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Baseline    bool   `json:"baseline,omitempty"`
		Access      string `json:"access"`
	}
	b, err := json.MarshalIndent([]any{struct {
		URI    string  `json:"uri"`
		Name   string  `json:"name"`
		Scopes []scope `json:"scopes"`
	}{s.Resource, s.Name, []scope{{s.Name + ":read", "Read with " + s.Name, true, "read"},
		{s.Name + ":write", "Change things with " + s.Name, false, "write"}}}}, "", "  ")
	if err != nil {
		panic("gateway: encode resources: " + err.Error()) // programming error
	}
	return append(b, '\n')
}
