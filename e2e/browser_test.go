package e2e_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// chromium is a headless browser with a profile of its own. Without one the test is skipped, or
// fails when CI=true.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no chromium, and CI must not skip this test")
		}
		t.Skip("no browser: install chromium")
	}
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-dev-shm-usage", true),
	)...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(stop)
	return ctx
}

// application is a real application's callback: it notes how the browser came back.
type application struct {
	callback string
	came     chan url.Values
}

func newApplication(t *testing.T) *application {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a := &application{callback: "http://" + l.Addr().String() + "/callback", came: make(chan url.Values, 4)}
	mux := http.NewServeMux()
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Referer() != "" {
			t.Errorf("the browser came with %s from %q, want GET and no referrer", r.Method, r.Referer())
		}
		a.came <- r.URL.Query()
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<p id="done">You can close this window.</p>`))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return a
}

// TestInARealBrowser signs in, unticks, approves and denies in Chromium, without a line of script
// from us, and ends the agent on the person's page.
func TestInARealBrowser(t *testing.T) {
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) { inABrowser(t, open(t, pair.flags(t)...)) })
	}
}

func inABrowser(t *testing.T, h *product) {
	ctx := chromium(t)
	app := newApplication(t)
	a := &agent{house: h}
	got, err := a.register(map[string]any{"client_name": "Browser test", "redirect_uris": []string{app.callback}}, "")
	if err != nil || !got.ok() {
		t.Fatalf("registering: %v %v", got, err)
	}
	request := func() string {
		return strings.Replace(a.request([]string{"customers:read", "customers:write"}), url.QueryEscape(callback),
			url.QueryEscape(app.callback), 1)
	}
	do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	read := func(selector string) string {
		t.Helper()
		text, err := chromedp.Run(ctx, chromedp.Text(selector))
		must(t, err)
		return text
	}

	do("signing in",
		chromedp.Navigate(request()),
		chromedp.WaitVisible(`#password`),
		chromedp.SendKeys(`#email`, "ann@acme.example"),
		chromedp.SendKeys(`#password`, h.password("ann@acme.example")),
		chromedp.Click(`button.primary`),
		chromedp.WaitVisible(`input[name=scope]`),
	)
	corners, err := chromedp.Run(ctx,
		chromedp.Evaluate[string](`getComputedStyle(document.querySelector("main")).borderRadius`))
	if err != nil || corners != "12px" {
		t.Errorf("the page's corners are %q %v, want 12px: our style is not in use", corners, err)
	}
	text := read(`main`)
	for _, want := range []string{"Browser test", "127.0.0.1", "Acme Corporation", "Read your customers",
		"Change your customers", "your computer", "able to read", "able to change things", "wants to access"} {
		if !strings.Contains(text, want) {
			t.Errorf("the consent page does not say %q:\n%s", want, text)
		}
	}

	do("approving what is ticked, which is what reads",
		chromedp.Click(`button[value=approve]`),
		chromedp.WaitVisible(`#done`),
	)
	answered := <-app.came
	redeemed, err := a.token(url.Values{
		"grant_type": {"authorization_code"}, "code": {answered.Get("code")}, "redirect_uri": {app.callback},
		"code_verifier": {a.verifier},
	})
	if err != nil || redeemed.field("scope") != "customers:read" || answered.Get("iss") != h.Issuer {
		t.Fatalf("redeeming what the browser brought (%v): %v %v", answered, redeemed, err)
	}
	if got, err := ask(h.Resource, a.access, "tools/list", ""); err != nil ||
		!strings.Contains(got.body, "read_customer") || strings.Contains(got.body, "update_customer") {
		t.Errorf("the agent sees %v %v", got, err)
	}

	do("denying", // signed in already: no password is asked for
		chromedp.Navigate(request()),
		chromedp.WaitVisible(`button[value=deny]`),
		chromedp.Click(`button[value=deny]`),
		chromedp.WaitVisible(`#done`),
	)
	if answered = <-app.came; answered.Get("error") != "access_denied" || answered.Get("state") == "" ||
		answered.Get("code") != "" {
		t.Errorf("denying brings %v", answered)
	}

	code, out := h.operate("client", "create", "--redirect-uri", app.callback, "--post-logout-redirect-uri",
		app.callback)
	if code != 0 {
		t.Fatal(out)
	}
	leave := url.Values{"client_id": {regexp.MustCompile(`cli_\S+`).FindString(out)},
		"post_logout_redirect_uri": {app.callback}, "state": {"bye"}}
	do("signing out, and on to the application", // the policy of the page must let the redirect through
		chromedp.Navigate(h.Issuer+"/oauth2/logout?"+leave.Encode()),
		chromedp.WaitVisible(`button.primary`),
		chromedp.Click(`button.primary`),
		chromedp.WaitVisible(`#done`),
	)
	if answered = <-app.came; answered.Get("state") != "bye" || len(answered) != 1 {
		t.Errorf("signing out brings %v", answered)
	}

	do("ending the agent, signed in anew",
		chromedp.Navigate(h.Issuer+"/agents"),
		chromedp.WaitVisible(`#password`),
		chromedp.SendKeys(`#email`, "ann@acme.example"),
		chromedp.SendKeys(`#password`, h.password("ann@acme.example")),
		chromedp.Click(`button.primary`),
		chromedp.WaitVisible(`.agent button`),
	)
	do("ending the agent",
		chromedp.Navigate(h.Issuer+"/agents"),
		chromedp.WaitVisible(`.agent button`),
		chromedp.Click(`.agent button`),
		chromedp.WaitNotPresent(`.agent`),
	)
	if text := read(`main`); !strings.Contains(text, "There are none") {
		t.Errorf("her agents, afterwards: %s", text)
	}
	if got, err := ask(h.Resource, a.access, "tools/list", ""); err != nil || got.status != http.StatusUnauthorized {
		t.Errorf("the ended agent gets %v %v, want 401", got, err)
	}
}
