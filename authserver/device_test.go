package authserver_test

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// device makes a client without a browser.
func (h *testServer) device() app {
	return h.register(map[string]any{"client_name": "Headless", "grant_types": []string{deviceGrant},
		"redirect_uris": []string{}})
}

// begin asks for a pair of codes.
func (a app) begin(scopes ...string) (deviceCode, userCode string, answer map[string]any) {
	a.h.t.Helper()
	form := url.Values{"client_id": {a.ID}, "scope": {strings.Join(scopes, " ")}, "resource": {resourceURI}}
	status, answer := a.h.post("/oauth2/device_authorization", "application/x-www-form-urlencoded", form.Encode(), nil)
	if status != 200 {
		a.h.t.Fatalf("beginning: got %d %v", status, answer)
	}
	return answer["device_code"].(string), answer["user_code"].(string), answer
}

func polling(deviceCode string) url.Values {
	return url.Values{"grant_type": {deviceGrant}, "device_code": {deviceCode}}
}

// atDevice brings the person, signed in, to the page that asks about a device.
func (p *person) atDevice(path string) page {
	p.h.t.Helper()
	at := p.open(path)
	if at.url.Path == "/signin" {
		at = p.submit(at, url.Values{"email": {p.email}, "password": {password}})
	}
	return at
}

// RFC 8628, from beginning to end.
func TestADeviceComesIn(t *testing.T) {
	h := startServer(t)
	a := h.device()
	deviceCode, userCode, answer := a.begin("customers:read", "customers:write")
	if answer["verification_uri"] != h.URL+"/device" ||
		answer["verification_uri_complete"] != h.URL+"/device?user_code="+userCode || answer["interval"] != 5.0 ||
		answer["expires_in"] != 600.0 {
		t.Errorf("began with %v", answer)
	}
	status, answer := a.token(polling(deviceCode))
	wantError(t, "before anybody decided", status, answer, 400, "authorization_pending")
	status, answer = a.token(polling(deviceCode))
	wantError(t, "asking too often", status, answer, 400, "slow_down")

	ann := h.person("ann@acme.example")
	at := ann.atDevice("/device")
	at.want(t, "the page that asks for a code", 200, "/device")
	// as people type
	at = ann.atDevice("/device?user_code=" + strings.ToLower(strings.ReplaceAll(userCode, "-", "%20")))
	for _, want := range []string{"Headless", userCode, "Read customers", "Change customers", "in front of you"} {
		if !strings.Contains(at.body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(at.body, "answer goes to") {
		t.Error("the page says where an answer goes that goes nowhere")
	}
	ann.submit(at, url.Values{"decision": {"approve"}, "scope": {"customers:read"}}).want(t, "letting it in", 200,
		"/device/done")
	ann.submit(at, url.Values{"decision": {"approve"}}).want(t, "the same again", 400, "/device")

	status, answer = a.token(polling(deviceCode))
	if status != 200 || answer["scope"] != "customers:read" {
		t.Fatalf("afterwards: got %d %v, want what was ticked", status, answer)
	}
	refresh, _ := answer["refresh_token"].(string)
	if _, body := claims(t, answer["access_token"].(string)); body["sub"] != "usr_ann" || body["tenant_id"] != "acme" {
		t.Errorf("claims: %v", body)
	}
	status, answer = a.token(refreshment(refresh))
	refresh, _ = answer["refresh_token"].(string)
	if status != 200 {
		t.Errorf("renewing: got %d %v", status, answer)
	}
	status, answer = a.token(polling(deviceCode)) // somebody else has the code, too
	wantError(t, "the code again", status, answer, 400, "invalid_grant")
	if a.alive(refresh) {
		t.Error("the grant of a device code that came twice lives on")
	}
	ended, err := h.Store.Grants(context.Background(), grant.Filter{ClientID: a.ID})
	if err != nil || len(ended) != 1 || ended[0].RevokeReason != grant.ReasonReuse {
		t.Errorf("the ledger: %+v %v", ended, err)
	}
}

func TestADeviceThatIsNotLetIn(t *testing.T) {
	h := startServer(t)
	a, other := h.device(), h.device()
	ann, bob := h.person("ann@acme.example"), h.person("bob@globex.example")

	deviceCode, userCode, _ := a.begin("customers:read")
	at := ann.atDevice("/device?user_code=" + userCode)
	ann.submit(at, url.Values{"decision": {"approve"}, "csrf": {"x"}}).want(t, "a form from elsewhere", 403, "/device")
	ann.submit(at, url.Values{"decision": {"approve"}, "scope": {"tickets:write"}}).want(t, "what was not offered", 400,
		"/device")
	ann.submit(at, url.Values{"decision": {"approve"}, "tenant": {"globex"}}).want(t, "another's tenant", 400,
		"/device")
	status, answer := a.token(polling(deviceCode))
	wantError(t, "after tries that did not do", status, answer, 400, "authorization_pending")
	ann.submit(at, url.Values{"decision": {"deny"}}).want(t, "saying no", 200, "/device/done")
	status, answer = a.token(polling(deviceCode))
	wantError(t, "after a no", status, answer, 400, "access_denied")

	deviceCode, userCode, _ = a.begin("customers:read")
	status, answer = other.token(polling(deviceCode))
	wantError(t, "another client's code", status, answer, 400, "invalid_grant")
	h.Clock.step(11 * time.Minute)
	status, answer = a.token(polling(deviceCode))
	wantError(t, "after its time", status, answer, 400, "expired_token")
	ann.atDevice("/device?user_code="+userCode).want(t, "its user code after its time", 400, "/device")

	// A device's code is no authorization code, nor the other way round.
	deviceCode, userCode, _ = a.begin("customers:read")
	bob.submit(bob.atDevice("/device?user_code="+userCode), url.Values{"decision": {"approve"}})
	b := h.register(map[string]any{"grant_types": []string{"authorization_code", deviceGrant}})
	code := b.code(ann, "customers:read")
	status, answer = b.token(polling(code))
	wantError(t, "an authorization code as a device's", status, answer, 400, "invalid_grant")
	form := url.Values{"grant_type": {"authorization_code"}, "code": {deviceCode},
		"redirect_uri": {"urn:gatehouse:device"}, "code_verifier": {deviceCode}}
	if status, answer = a.token(form); status == 200 {
		t.Errorf("a device's code as an authorization code: got %d %v", status, answer)
	}
	if status, answer = other.token(polling(deviceCode)); status == 200 {
		t.Errorf("an approved code of another client: got %d %v", status, answer)
	}
	if status, answer = a.token(polling(deviceCode)); status != 200 {
		t.Errorf("and then the device itself: got %d %v, want 200", status, answer)
	}

	plain := h.register(map[string]any{})
	form = url.Values{"client_id": {plain.ID}, "scope": {"customers:read"}}
	status, answer = h.post("/oauth2/device_authorization", "application/x-www-form-urlencoded", form.Encode(), nil)
	wantError(t, "a client that is not for devices", status, answer, 400, "unauthorized_client")
	form = url.Values{"client_id": {a.ID}, "scope": {"admin"}}
	status, answer = h.post("/oauth2/device_authorization", "application/x-www-form-urlencoded", form.Encode(), nil)
	wantError(t, "an unknown scope", status, answer, 400, "invalid_scope")
	form = url.Values{"client_id": {a.ID}, "resource": {"https://evil.example"}}
	status, answer = h.post("/oauth2/device_authorization", "application/x-www-form-urlencoded", form.Encode(), nil)
	wantError(t, "a foreign resource", status, answer, 400, "invalid_target")
}

// RFC 8628 §5.1: user codes cannot be tried out, and of many decisions at once one counts.
func TestUserCodes(t *testing.T) {
	h := startServer(t)
	a := h.device()
	ann := h.person("ann@acme.example")
	deviceCode, userCode, _ := a.begin("customers:read")
	at := ann.atDevice("/device?user_code=" + userCode)
	var done atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if ann.submit(at, url.Values{"decision": {"approve"}}).url.Path == "/device/done" {
				done.Add(1)
			}
		})
	}
	wg.Wait()
	grants, err := h.Store.Grants(context.Background(), grant.Filter{ClientID: a.ID})
	if done.Load() != 1 || len(grants) != 1 || err != nil {
		t.Errorf("ten decisions at once: %d counted, %d grants %v; want one", done.Load(), len(grants), err)
	}
	var wins atomic.Int64
	for range 10 {
		wg.Go(func() {
			if status, _ := a.token(polling(deviceCode)); status == 200 {
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("ten askings at once: got %d tokens, want 1", wins.Load())
	}
	last := 0
	for range 20 {
		last = ann.open("/device?user_code=BCDF-GHJK").status
	}
	if last != 429 {
		t.Errorf("trying codes out: got %d, want 429", last)
	}
	ann.submit(at, url.Values{"decision": {"approve"}}).want(t, "deciding on codes without looking", 429, "/device")
	for _, typed := range []string{"", "BCDFGHJ", "BCDF-GHJKL", "AEIO-UAEI", "<script>"} {
		if at := ann.open("/device?user_code=" + url.QueryEscape(typed)); strings.Contains(at.body, "<script") {
			t.Errorf("%q is markup", typed)
		}
	}
}
