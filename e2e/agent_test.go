package e2e_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const callback = "http://127.0.0.1:7777/callback"

// agent is a program that connects: somebody's agent, or mallory's.
type agent struct {
	house      *product
	id, secret string
	verifier   string
	code       string
	access     string
	refresh    string
}

// answer is what a program gets.
type answer struct {
	status    int
	challenge string
	body      string
}

func (a answer) ok() bool {
	return a.status < 300 && !strings.Contains(a.body, `"error"`) && !strings.Contains(a.body, `"isError":true`)
}

func (a answer) String() string {
	return fmt.Sprintf("status: %d\nchallenge: %s\n%s\n", a.status, a.challenge, a.body)
}

func (a answer) field(name string) string {
	members := map[string]any{}
	_ = json.Unmarshal([]byte(a.body), &members) // no JSON has no field
	s, _ := members[name].(string)
	return s
}

func send(method, address, body string, header http.Header) (answer, error) {
	r, err := http.NewRequest(method, address, bytes.NewBufferString(body))
	if err != nil {
		return answer{}, err
	}
	r.Header = header
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header.Get("WWW-Authenticate"), string(text)}, err
}

// register registers at the issuer, with an initial access token or without.
func (a *agent) register(metadata map[string]any, initial string) (answer, error) {
	body, err := json.Marshal(metadata)
	if err != nil {
		return answer{}, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if initial != "" {
		header.Set("Authorization", "Bearer "+initial)
	}
	got, err := send("POST", a.house.Issuer+"/oauth2/register", string(body), header)
	a.id, a.secret = got.field("client_id"), got.field("client_secret")
	return got, err
}

// request is the address that the agent opens in its person's browser.
func (a *agent) request(scopes []string) string {
	a.verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(a.verifier))
	q := url.Values{
		"client_id": {a.id}, "redirect_uri": {callback}, "response_type": {"code"}, "state": {rand.Text()},
		"resource":       {a.house.Resource},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if len(scopes) > 0 {
		q.Set("scope", strings.Join(scopes, " "))
	}
	return a.house.Issuer + "/oauth2/authorize?" + q.Encode()
}

// token asks the token endpoint, and keeps what it gets.
func (a *agent) token(form url.Values) (answer, error) {
	got, err := a.post("/oauth2/token", form)
	if err == nil && got.status == http.StatusOK {
		a.access = got.field("access_token")
		if next := got.field("refresh_token"); next != "" {
			a.refresh = next
		}
	}
	return got, err
}

func (a *agent) post(path string, form url.Values) (answer, error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if a.secret != "" {
		header.Set("Authorization",
			"Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(a.id)+":"+url.QueryEscape(a.secret))))
	} else {
		form.Set("client_id", a.id)
	}
	return send("POST", a.house.Issuer+path, form.Encode(), header)
}

func (a *agent) redeem() (answer, error) {
	return a.token(url.Values{"grant_type": {"authorization_code"}, "code": {a.code}, "redirect_uri": {callback},
		"code_verifier": {a.verifier}, "resource": {a.house.Resource}})
}

func (a *agent) renew(refresh string) (answer, error) {
	return a.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh},
		"resource": {a.house.Resource}})
}

func (a *agent) revoke(token string) (answer, error) {
	return a.post("/oauth2/revoke", url.Values{"token": {token}})
}

// ask sends a message to an MCP server with a token, in the modern era.
func ask(resource, token, method, params string) (answer, error) {
	var name struct{ Name string }
	_ = json.Unmarshal([]byte("{"+params+"}"), &name) // no name, no header
	if params != "" {
		params += ","
	}
	header := http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {method},
	}
	if name.Name != "" {
		header.Set("Mcp-Name", name.Name)
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.` +
		`modelcontextprotocol/clientCapabilities":{}}`
	return send("POST", resource, `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+meta+`}}`, header)
}
