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
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/upstream"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// Existing says which server is to be put behind a gateway, and how it will be reached there.
type Existing struct {
	URL     string   // where it speaks Streamable HTTP; either this
	Command []string // or how it is started
	Tenant  string   // whose process is asked, of a command; default "demo"
	// Environment are the names of the variables of Getenv that a command gets, now and from the
	// gateway, beside PATH. With HOME among them, all tenants have that one.
	Environment []string
	// CA, ClientCertificate and ClientKey are files (PEM), as an Upstream has them, for a server at
	// an https URL.
	CA, ClientCertificate, ClientKey string

	Name     string       // a-z, 0-9 and hyphens; default: the server's own, so far as it can be
	Issuer   string       // default http://localhost:8080
	Resource string       // default http://localhost:8090/ and the name
	Log      *slog.Logger // what a program says, and why a server does not answer; nil: nowhere
	// Credential is what a server at a URL is shown, now and by the gateway. Its secret is read
	// from the environment, and does not come into the proposal. Default none.
	Credential Credential
	Getenv     func(string) string // of Credential and Environment; nil: there is no environment
}

// Proposal is a beginning: a configuration with a scope for each tool that the server has now.
type Proposal struct {
	Name      string
	Resource  string
	Config    []byte // of gateway.yaml
	Resources []byte // for the issuer's list of resources, JSON
	Tools     int
	lock      toolcatalog.Lock
}

// WriteLock writes down the tools as they are now.
func (p *Proposal) WriteLock(config string) error { return p.lock.Write(LockPath(config)) }

// LockPath is where the lock file of a configuration is.
func LockPath(config string) string {
	return strings.TrimSuffix(strings.TrimSuffix(config, ".yaml"), ".yml") + ".lock"
}

// Propose reads what a server offers and writes a configuration for it.
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
		return nil, fmt.Errorf("the name %q is not a word of a-z, 0-9 and hyphens, 32 at most", e.Name)
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
		return nil, fmt.Errorf("what was proposed cannot be read: %w", err)
	}
	return p, f.check()
}

// listenFor is where to listen for a resource: on its port when it is this machine's.
func listenFor(resource string) string {
	u, err := url.Parse(resource)
	if err != nil || u.Port() == "" || !config.ThisMachine(u.Hostname()) {
		return defaultListen
	}
	return net.JoinHostPort("127.0.0.1", u.Port())
}

// reach makes the way to the server. What could not stand in the file is refused before anything is
// sent. forget lets go of it.
func (e Existing) reach(met *trouble) (_ server, forget func(), err error) {
	way := &Upstream{
		URL: e.URL, Command: e.Command, Credential: e.Credential, Environment: e.Environment,
		CA: e.CA, ClientCertificate: e.ClientCertificate, ClientKey: e.ClientKey,
	}
	if err := (&File{}).checkWay(way); err != nil {
		return nil, nil, err
	}
	if len(e.Command) > 0 {
		state, err := os.MkdirTemp("", "gatehouse-init-") // as the gateway will start it, and nothing stays behind
		if err != nil {
			return nil, nil, fmt.Errorf("making a folder for the program: %w", err)
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
	c := upstream.Config{Name: "upstream", URL: u, TLS: secured, Log: e.Log, Trouble: met.meet}
	if e.Credential != (Credential{}) {
		if c.Credential, err = e.Credential.show(e.Getenv); err != nil {
			return nil, nil, err
		}
	}
	s := upstream.New(c)
	return s, func() { _ = s.Close() }, nil
}

// startFirst is how long a program may take to start that is perhaps fetched then.
const startFirst = 2 * time.Minute

// settle fills what is not said, and makes files and the command the same in every folder: a
// program, or an argument that names a file, by the whole path.
func (e *Existing) settle() error {
	for _, file := range []*string{&e.CA, &e.ClientCertificate, &e.ClientKey} {
		if *file == "" {
			continue
		}
		whole, err := filepath.Abs(*file)
		if err != nil {
			return fmt.Errorf("finding %s: %w", *file, err)
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
			return fmt.Errorf("finding %s: %w", word, err)
		}
		e.Command[i] = whole
	}
	return nil
}

// SharesHome says whether all tenants' processes have the HOME of the gateway.
func (e Existing) SharesHome() bool { return slices.Contains(e.Environment, "HOME") }

// Fetches says whether the command is one that fetches its program when it first starts in a HOME.
func (e Existing) Fetches() bool {
	return len(e.Command) > 0 &&
		slices.Contains([]string{"npx", "npm", "pnpm", "yarn", "bunx", "bun", "uvx", "uv", "pipx", "docker", "podman",
			"go"}, filepath.Base(e.Command[0]))
}

// Remembers says whether the server is the reference server that keeps a memory in a file beside
// its program, or one like it.
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

// proposed is a tool or a prompt of the server's, for which a rule is proposed.
type proposed struct {
	Name        string
	Closed      string // why its rule stands in a comment; empty: it does not
	Scope       string
	Write       bool
	Description string
	Suspicions  []string
}

// notOpened says why a thing of this name is not opened by a proposal, or "".
func notOpened(name string, plain bool) string {
	switch {
	case plain:
		return ""
	case name == "":
		return "it has no name"
	}
	return "its name has characters that a name must not have, or is too long (MCP, \"Tool Names\")"
}

// rule writes the rule for a thing of the server's, as YAML on one line. A star in the name is the
// server's: it stands for itself.
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

// write fills the template. Everything that the server says is quoted: it is text, and never YAML.
func (s *sketch) write() ([]byte, error) {
	t, err := template.New("proposal").Funcs(template.FuncMap{"quote": quote, "rule": proposed.rule}).Parse(
		proposalText)
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, s); err != nil {
		return nil, fmt.Errorf("writing the proposal: %w", err)
	}
	return []byte(b.String()), nil
}

// quote writes text as YAML reads it, on one line: a JSON string is one of YAML's, in which
// characters that nobody sees, or that could end the line, are escaped.
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

// oneLine makes text fit for a comment: nothing in it can end the line, or be there without being
// seen.
func oneLine(s string) string {
	s = text.Line(s, 0)
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100]) + "…"
	}
	return s
}

// nameOf makes a name out of a server's own.
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

// resources is what the issuer must know of the resource.
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
		panic("gateway: a list of resources that is no JSON: " + err.Error()) // a programmer broke it
	}
	return append(b, '\n')
}
