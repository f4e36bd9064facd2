package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	other "github.com/mark3labs/mcp-go/mcp"
	otherserver "github.com/mark3labs/mcp-go/server"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

const measuredCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_customer",` +
	`"arguments":{"customer_id":"cus_acme_1001"}}}`

// BenchmarkCall is a call of the companion's read_customer beside the same tool in the designs that
// people know, each a process of its own: callers who keep one connection each ask them in turn, a
// volley at a time. of-mcp-go and of-typescript say how many times as fast the volleys are, with
// what the callers take of the same processor in both; those with -cpu say it of the processor's
// time that the servers take, which is how many callers they serve.
func BenchmarkCall(b *testing.B) {
	issuer := stranger(b)
	database := companionDatabase(b)
	program, err := os.Executable()
	must(b, err)
	ours := measure(b, issuer, exec.Command(program), "SERVE_MEASURED=ours", "DATABASE="+database)
	b.Run("mcp-go", func(b *testing.B) {
		ours.against(b, "of-mcp-go", measure(b, issuer, exec.Command(program), "SERVE_MEASURED=mcp-go",
			"DATABASE="+database))
	})
	b.Run("typescript", func(b *testing.B) {
		w := openWorkshop(b, "rival")
		c := exec.Command(w.node, "server.mjs")
		c.Dir = w.dir
		ours.against(b, "of-typescript", measure(b, issuer, c, "NODE_ENV=production"))
	})
}

// A volley is so many callers who ask so often.
const callers, asks = 16, 20

// measured is a server that is measured.
type measured struct {
	url, raw string
	pid      int
	client   *http.Client
}

var measuredScopes = map[string]string{
	"read_customer": "customers:read", "update_customer": "customers:write", "create_ticket": "tickets:write",
	"search_knowledge_base": "knowledge:read",
}

// measure starts a server, which says its URL and ends with its standard input. Tokens are signed
// with RS256, which is the cheapest to check.
func measure(b *testing.B, issuer *tokentest.Issuer, c *exec.Cmd, env ...string) *measured {
	b.Helper()
	c.Stderr, c.Env = os.Stderr, append(append(os.Environ(), "ISSUER="+issuer.URL(), "JWKS="+issuer.JWKSURL()), env...)
	stdin, err := c.StdinPipe()
	must(b, err)
	stdout, err := c.StdoutPipe()
	must(b, err)
	must(b, c.Start())
	b.Cleanup(func() { stdin.Close(); c.Wait() })
	url, err := bufio.NewReader(stdout).ReadString('\n')
	must(b, err)
	s := &measured{url: strings.TrimSpace(url), pid: c.Process.Pid,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers, DisableCompression: true}}}
	b.Cleanup(s.client.CloseIdleConnections)
	s.raw = issuer.Sign(issuer.Claims(s.url, slices.Collect(maps.Values(measuredScopes))...),
		tokentest.Algorithm("RS256"))
	for range 5 { // warm: connections, caches, plans, what a machine compiles late
		s.volley(b)
	}
	if answer := s.ask(b, measuredCall); !strings.Contains(answer, `"structuredContent":{`) ||
		!strings.Contains(answer, "Road Runner Logistics") {
		b.Fatalf("answered: %s", answer)
	}
	if answer := s.ask(b, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); strings.Count(answer,
		`"inputSchema"`) != len(measuredScopes) {
		b.Fatalf("listed: %s", answer)
	}
	return s
}

// volley has all callers ask, and waits for them.
func (s *measured) volley(b *testing.B) {
	var asking sync.WaitGroup
	for range callers {
		asking.Go(func() {
			for range asks {
				s.ask(b, measuredCall)
			}
		})
	}
	asking.Wait()
}

func (s *measured) ask(b *testing.B, message string) string {
	r, err := http.NewRequest(http.MethodPost, s.url, strings.NewReader(message))
	if err != nil {
		b.Error(err)
		return ""
	}
	r.Header.Set("Authorization", "Bearer "+s.raw)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	response, err := s.client.Do(r)
	if err != nil {
		b.Error(err)
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		b.Errorf("%s answers %d %s %v", s.url, response.StatusCode, body, err)
	}
	return string(body)
}

// processor is the processor's time that the server has had, where /proc tells it: in hundredths of
// a second (proc(5), stat).
func (s *measured) processor() time.Duration {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(s.pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// against asks ours and a rival in turn.
func (s *measured) against(b *testing.B, ratio string, rival *measured) {
	servers, n := []*measured{s, rival}, 0
	var spent, busy [2]time.Duration
	for i, s := range servers {
		busy[i] = -s.processor()
	}
	for b.Loop() {
		n += callers * asks
		for i, s := range servers {
			began := time.Now()
			s.volley(b)
			spent[i] += time.Since(began)
		}
	}
	for i, s := range servers {
		busy[i] += s.processor()
		name := []string{"ours", "theirs"}[i]
		b.ReportMetric(float64(spent[i].Microseconds())/float64(n), name+"-µs")
		b.ReportMetric(float64(busy[i].Microseconds())/float64(n), name+"-cpu-µs")
	}
	b.ReportMetric(float64(spent[1])/float64(spent[0]), ratio)
	if busy[0] > 0 {
		b.ReportMetric(float64(busy[1])/float64(busy[0]), ratio+"-cpu")
	}
}

// TestMain is the gatehouse command, or a server that is measured, in place of the tests, when it
// is told to be one.
func TestMain(m *testing.M) {
	if os.Getenv(runGatehouse) != "" {
		os.Exit(asGatehouse())
	}
	serve := map[string]func(resource string, ended *revocation.Memory) (http.Handler, error){"ours": serveCompanion,
		"mcp-go": serveMCPGo}[os.Getenv("SERVE_MEASURED")]
	if serve == nil {
		code := m.Run()
		if err := fetched.clear(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	ended := revocation.NewMemory(nil)
	l, err := httpd.Listen("127.0.0.1:0")
	if err == nil {
		err = ended.Restore(context.Background(), nil, time.Hour)
	}
	var handler http.Handler
	if err == nil {
		handler, err = serve("http://"+l.Addr().String()+"/mcp", ended)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("http://" + l.Addr().String() + "/mcp")
	go httpd.Server(handler).Serve(l)
	io.Copy(io.Discard, os.Stdin)
}

// serveCompanion is the companion server, with its demo.
func serveCompanion(resource string, ended *revocation.Memory) (http.Handler, error) {
	server, err := mcpserver.New(context.Background(), mcpserver.Config{
		Resource: resource, Issuer: os.Getenv("ISSUER"), Database: os.Getenv("DATABASE"), Algorithms: []string{"RS256"},
		CallsPerMinute: 1 << 40,
	}, mcpserver.Deps{Revoked: ended})
	if err != nil {
		return nil, err
	}
	return server.Handler(), server.SeedDemo(context.Background())
}

// serveMCPGo is the companion's tools on mark3labs/mcp-go: one server, filtered by the caller's
// scopes, which checks arguments against the schemas, behind the same guard, with the same
// statement through the same driver in the companion's database. The tools that are not measured
// are listed alone.
func serveMCPGo(resource string, ended *revocation.Memory) (http.Handler, error) {
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(os.Getenv("DATABASE"), "sqlite:")+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	server := otherserver.NewMCPServer("rival", "1", otherserver.WithToolCapabilities(false),
		otherserver.WithInputSchemaValidation(),
		otherserver.WithToolFilter(func(ctx context.Context, tools []other.Tool) []other.Tool {
			caller, _ := guard.CallerOf(ctx)
			var open []other.Tool
			for _, t := range tools {
				if slices.Contains(caller.Scopes, measuredScopes[t.Name]) {
					open = append(open, t)
				}
			}
			return open
		}))
	id := other.WithString("customer_id", other.Required(), other.MinLength(1), other.MaxLength(64),
		other.Description("The customer's id, e.g. cus_acme_1001"))
	server.AddTool(other.NewTool("read_customer", id,
		other.WithDescription("Returns the id, name and e-mail address of one customer of your organisation."),
		other.WithOutputSchema[measuredCustomer](), other.WithReadOnlyHintAnnotation(true)),
		func(ctx context.Context, r other.CallToolRequest) (*other.CallToolResult, error) {
			caller, _ := guard.CallerOf(ctx)
			id, err := r.RequireString("customer_id")
			if err != nil {
				return other.NewToolResultError(err.Error()), nil
			}
			found := measuredCustomer{ID: id}
			err = db.QueryRowContext(ctx, "SELECT name, email FROM customers WHERE tenant_id = $1 AND id = $2",
				caller.TenantID, id).Scan(&found.Name, &found.Email)
			if err != nil {
				return other.NewToolResultError("There is no customer of this id."), nil
			}
			text, err := json.Marshal(found)
			return other.NewToolResultStructured(found, string(text)), err
		})
	unmeasured := func(context.Context, other.CallToolRequest) (*other.CallToolResult, error) {
		return other.NewToolResultError("only read_customer is measured"), nil
	}
	server.AddTool(other.NewTool("update_customer", id, other.WithString("name"), other.WithString("email")),
		unmeasured)
	server.AddTool(other.NewTool("create_ticket", id, other.WithString("subject", other.Required()),
		other.WithString("body")), unmeasured)
	server.AddTool(other.NewTool("search_knowledge_base", other.WithString("query", other.Required()),
		other.WithNumber("limit")), unmeasured)
	g, err := guard.New(guard.Config{Issuer: os.Getenv("ISSUER"), Resource: resource, Revoked: ended,
		Algorithms: []string{"RS256"}})
	if err != nil {
		return nil, err
	}
	return g.Wrap(otherserver.NewStreamableHTTPServer(server, otherserver.WithStateLess(true))), nil
}

type measuredCustomer struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}
