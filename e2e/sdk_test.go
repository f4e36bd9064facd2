package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// witness notes the access tokens that a client sends to a server.
type witness struct {
	resource string
	mu       sync.Mutex
	tokens   []string
	versions []string
}

func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() == w.resource {
		w.mu.Lock()
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok &&
			!slices.Contains(w.tokens, token) {
			w.tokens = append(w.tokens, token)
		}
		if v := r.Header.Get("Mcp-Protocol-Version"); v != "" && !slices.Contains(w.versions, v) {
			w.versions = append(w.versions, v)
		}
		w.mu.Unlock()
	}
	return http.DefaultTransport.RoundTrip(r)
}

// grants are the grants of the tokens seen so far, each once.
func (w *witness) grants(t *testing.T) (grants []string, tokens int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, token := range w.tokens {
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		must(t, err)
		var claims struct {
			Grant string `json:"grant_id"`
		}
		must(t, json.Unmarshal(payload, &claims))
		if !slices.Contains(grants, claims.Grant) {
			grants = append(grants, claims.Grant)
		}
	}
	return grants, len(w.tokens)
}

// TestOfficialSDKClient is the whole way of a client that nobody wrote for us: discovery,
// registration, code with PKCE, list, call, expiry, renewal, step-up.
func TestOfficialSDKClient(t *testing.T) {
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			// The client takes a token for expired ten seconds early: this one is, always.
			h := open(t, append(pair.flags(t), "--access-token-lifetime", "10s")...)
			ann := newPerson(h, "ann@acme.example")
			var asked []string
			handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
				DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{
					Metadata: &oauthex.ClientRegistrationMetadata{
						ClientName: "SDK client", RedirectURIs: []string{callback},
						GrantTypes: []string{"authorization_code", "refresh_token"},
					}},
				RequestRefreshToken: true,
				AuthorizationCodeFetcher: func(_ context.Context, a *auth.AuthorizationArgs) (*auth.AuthorizationResult,
					error) {
					asked = append(asked, a.URL)
					at, err := ann.consent(a.URL, "")
					if err != nil {
						return nil, err
					}
					q, err := ann.decide(at, "approve", nil)
					return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, err
				},
			})
			must(t, err)
			seen := &witness{resource: h.Resource}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
			session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: h.Resource,
				HTTPClient: &http.Client{Transport: seen}, OAuthHandler: handler}, nil)
			must(t, err)
			defer session.Close()

			if got, want := tools(t, ctx, session),
				[]string{"read_customer", "search_knowledge_base"}; !slices.Equal(got, want) {
				t.Errorf("the baseline opens %v, want %v", got, want)
			}
			if got := call(t, ctx, session, "read_customer",
				map[string]any{"customer_id": "cus_acme_1001"}); !strings.Contains(got, "Road Runner") {
				t.Errorf("read_customer answers %s", got)
			}
			grants, tokens := seen.grants(t)
			if len(grants) != 1 || tokens < 3 || len(asked) != 1 {
				t.Errorf("%d tokens of the grants %v with %d consents; want several tokens of one grant, and one "+
					"consent", tokens, grants, len(asked))
			}
			if !slices.Contains(seen.versions, "2026-07-28") {
				t.Errorf("it spoke %v, want the modern era", seen.versions)
			}

			// The step up: one more consent, then the call goes through, and what was there is
			// still there.
			got := call(t, ctx, session, "update_customer",
				map[string]any{"customer_id": "cus_acme_1001", "name": "Renamed by an agent"})
			if !strings.Contains(got, "Renamed by an agent") || len(asked) != 2 {
				t.Errorf("after the step up (%d consents): %s", len(asked), got)
			}
			if got, want := tools(t, ctx, session),
				[]string{"read_customer", "update_customer", "search_knowledge_base"}; !slices.Equal(got, want) {
				t.Errorf("after the step up it sees %v, want %v", got, want)
			}
		})
	}
}

func tools(t *testing.T, ctx context.Context, s *mcp.ClientSession) []string {
	t.Helper()
	list, err := s.ListTools(ctx, nil)
	must(t, err)
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names
}

func call(t *testing.T, ctx context.Context, s *mcp.ClientSession, name string, arguments map[string]any) string {
	t.Helper()
	result, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
	must(t, err)
	text, err := json.Marshal(result)
	must(t, err)
	if result.IsError {
		t.Errorf("%s fails: %s", name, text)
	}
	return string(text)
}
