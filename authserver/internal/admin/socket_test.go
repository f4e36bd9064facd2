package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// serve puts the door on the socket of dir until the test ends.
func serve(t *testing.T, o *office, dir string) {
	t.Helper()
	l, err := admin.Listen(dir)
	must(t, err)
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: o.Handler()}}
	server.Start()
	t.Cleanup(server.Close)
}

func TestCommandsActInsideTheServer(t *testing.T) {
	ctx, o := context.Background(), open(t)
	for _, row := range []struct{ name, dir, id string }{
		{"in the data directory", t.TempDir(), "acme"},
		{"elsewhere, when the path is too long", filepath.Join(t.TempDir(), strings.Repeat("long", 30)), "globex"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, id := row.dir, row.id
			must(t, os.MkdirAll(dir, 0o700))
			if _, err := admin.Reach(ctx, dir); !errors.Is(err, admin.ErrNoServer) {
				t.Errorf("before there is a server: got %v, want ErrNoServer", err)
			}
			serve(t, o, dir)
			remote, err := admin.Reach(ctx, dir)
			must(t, err)
			arguments, err := json.Marshal(admin.TenantSpec{ID: id})
			must(t, err)
			answer, err := remote.Act(ctx, "tenant.create", arguments)
			must(t, err)
			var made tenant.Tenant
			must(t, json.Unmarshal(answer, &made))
			if _, err := o.store.Tenant(ctx, id); err != nil || made.ID != id {
				t.Errorf("made %+v, kept: %v", made, err)
			}
			_, err = remote.Act(ctx, "tenant.create", arguments)
			refused(t, err, "already")
		})
	}
}

func TestOnlyTheOwnerReachesTheSocket(t *testing.T) {
	dir := t.TempDir()
	l, err := admin.Listen(dir)
	must(t, err)
	for _, name := range []string{"admin.sock", "admin.addr"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", name, got)
		}
	}
	must(t, l.Close())
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatACrashLeftBehindIsSweptAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	must(t, os.MkdirAll(dir, 0o700))
	_, err := admin.Listen(dir) // and never closed, as if the process had been killed
	must(t, err)
	path, err := os.ReadFile(filepath.Join(dir, "admin.addr"))
	must(t, err)
	l, err := admin.Listen(dir)
	must(t, err)
	defer l.Close()
	if _, err := os.Stat(filepath.Dir(strings.TrimSpace(string(path)))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead server's directory: %v, want it gone", err)
	}
	if _, err := admin.Reach(context.Background(), dir); err != nil {
		t.Error(err)
	}
}

func TestTheDoorReadsStrictly(t *testing.T) {
	o := open(t)
	for name, row := range map[string]struct{ act, body, says string }{
		"unknown act":     {"tenant.destroy", "{}", "no act"},
		"unknown member":  {"tenant.create", `{"ID":"acme","Scope":"x"}`, "cannot be read"},
		"no JSON":         {"tenant.create", `{`, "cannot be read"},
		"two values":      {"tenant.create", `{"ID":"acme"}{}`, "something follows"},
		"nothing at all":  {"tenant.create", ``, "cannot be read"},
		"an endless body": {"tenant.create", `{"ID":"` + strings.Repeat("a", 1<<20) + `"}`, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			o.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/acts/"+row.act,
				bytes.NewBufferString(row.body)))
			if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), row.says) {
				t.Errorf("got %d %s, want 422 and %q", w.Code, w.Body, row.says)
			}
		})
	}
	if lines := o.lines(t); len(lines) != 0 {
		t.Errorf("something happened: %v", lines)
	}
}

// A file is larger than what other acts may bring, and its answer is read whole.
func TestALargeFileComesThroughTheSocket(t *testing.T) {
	ctx, o, dir := context.Background(), open(t), t.TempDir()
	serve(t, o, dir)
	remote, err := admin.Reach(ctx, dir)
	must(t, err)
	text := "tenants:\n  - id: acme\n    clients:"
	for i := range 2000 {
		text += fmt.Sprintf("\n      - name: job %d\n        scopes: [customers:read]", i)
	}
	arguments, err := json.Marshal(file(t, text))
	must(t, err)
	if len(arguments) < 5<<16 {
		t.Fatal(len(arguments))
	}
	var changes []admin.Change
	for _, name := range []string{"apply.plan", "apply"} {
		answer, err := remote.Act(ctx, name, arguments)
		must(t, err)
		must(t, json.Unmarshal(answer, &changes))
		if len(changes) != 2001 || (changes[2000].Secret == "") != (name == "apply.plan") {
			t.Errorf("%s: got %d changes, the last is %+v", name, len(changes), changes[len(changes)-1])
		}
	}
	_, err = remote.Act(ctx, "role.put", arguments)
	refused(t, err, "request body too large")
}

func TestAnswersHoldNoHashes(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	act := func(name, arguments string) string {
		t.Helper()
		answer, err := o.Act(ctx, name, json.RawMessage(arguments))
		must(t, err)
		return string(answer)
	}
	answers := act("user.create", `{"Email":"ann@acme.example"}`) + act("client.create",
		`{"Tenant":"acme","Scopes":["customers:read"]}`) + act("client.list", `{}`)
	for _, hash := range []string{"argon2", "sha256$"} {
		if strings.Contains(answers, hash) {
			t.Errorf("an answer holds a hash (%s)", hash)
		}
	}
}

// Who acts through the socket stands in the audit: the local user at its other end, whom the system
// names, and the name that they stated. Lines of refusals and of grants that end have it, too.
func TestOperatorsHaveNamesInTheAudit(t *testing.T) {
	ctx, o, dir := context.Background(), open(t), t.TempDir()
	serve(t, o, dir)
	local := admin.LocalUser()
	act := func(as, name, arguments string) error {
		t.Helper()
		remote, err := admin.Reach(ctx, dir)
		must(t, err)
		remote.As = as
		_, err = remote.Act(ctx, name, json.RawMessage(arguments))
		return err
	}
	must(t, act("", "tenant.create", `{"ID":"acme"}`))
	must(t, act("dora@ops.example", "tenant.create", `{"ID":"globex"}`))
	must(t, act("eve (root)", "tenant.create",
		`{"ID":"initech"}`)) // no name: a line of its own making is not to be had
	must(t, act(local, "user.create", `{"Email":"ann@acme.example","Tenant":"acme"}`))
	if act("dora@ops.example", "tenant.create", `{"ID":"acme"}`) == nil {
		t.Error("a tenant twice")
	}
	var u struct{ ID string }
	raw, err := o.store.UserByEmail(ctx, "ann@acme.example")
	must(t, err)
	u.ID = raw.ID
	g := grant.Grant{ID: "grt_1", TenantID: "acme", ClientID: "cli_1", UserID: u.ID, Resource: resourceURI,
		CreatedAt: now}
	must(t, o.store.CreateClient(ctx, client.Client{ID: "cli_1", CreatedAt: now}))
	must(t, o.store.PutCode(ctx, g, issuer.Code{Hash: "h", GrantID: g.ID, ClientID: "cli_1", CreatedAt: now,
		ExpiresAt: now}, audit.Event{Time: now, Actor: "user:" + u.ID}))
	must(t, act("dora@ops.example", "user.disable", `{"User":"ann@acme.example"}`))
	dora := "operator:dora@ops.example (" + local + ")"
	for filter, want := range map[string]map[string]int{
		"operator":                  {"operator:" + local: 4, dora: 4},
		"operator:" + local:         {"operator:" + local: 4},
		"operator:dora@ops.example": {dora: 4},
		dora:                        {dora: 4},
		"operator:dora":             {},
	} {
		lines, err := o.Events(ctx, audit.Filter{Actor: filter, Action: "", Limit: 100})
		must(t, err)
		got := map[string]int{}
		for _, l := range lines {
			if l.Action != "role.put" {
				got[l.Actor]++
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("--actor %s (-want +got)\n%s", filter, diff)
		}
	}
}
