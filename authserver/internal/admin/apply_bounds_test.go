package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
)

// 64 MiB of empty clients became 11 GB before somebody counted them.
func TestWhatIsAppliedIsCountedBeforeItIsRead(t *testing.T) {
	ctx, o := context.Background(), open(t)
	for name, arguments := range map[string]string{
		"clients": `{"Clients":[` + strings.Repeat("{},", 1<<20) + `{}]}`,
		"clients, twice": `{` + strings.Repeat(`"Clients":[`+strings.Repeat("{},", 150_000)+`{}],`, 2) +
			`"Tenants":[]}`,
		"words":           `{"Clients":[{"Scopes":[` + strings.Repeat("{},", 1<<20) + `{}]}]}`,
		"texts":           `{"Clients":[{"RedirectURIs":[` + strings.Repeat(`"",`, 1<<20) + `""]}]}`,
		"lists":           `{"Clients":` + strings.Repeat("[", 1<<20),
		"objects":         strings.Repeat(`{"Clients":`, 1<<19),
		"an endless list": `{"Clients":[` + strings.Repeat("{},", 1<<20),
	} {
		for _, act := range []string{"apply", "apply.plan"} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := o.Act(ctx, act, json.RawMessage(arguments))
			runtime.ReadMemStats(&after)
			refused(t, err, "more than 200001 objects and members of lists")
			if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 100 {
				t.Errorf("%s: %s took %d MB", name, act, took)
			}
		}
	}
	for _, arguments := range []string{`{"Clients":[{}]`, `]`, `{"Clients":[}`,
		`{"Tenants":[{"ID":"acme","Name":null,"Roles":null}]}}`} {
		_, err := o.Act(ctx, "apply", json.RawMessage(arguments))
		refused(t, err, "the act's arguments")
	}
}

func TestAResourceHasOnlySoManyScopes(t *testing.T) {
	ctx, o := context.Background(), open(t)
	r := issuer.Resource{URI: "https://notes.example/mcp"}
	text := "resources:\n  - uri: https://notes.example/mcp\n    scopes:\n"
	for i := range 500 {
		r.Scopes = append(r.Scopes, issuer.Scope{Name: fmt.Sprintf("s%d", i), Description: "S"})
		text += fmt.Sprintf("      - {name: s%d, description: S}\n", i)
	}
	must(t, o.PutResource(ctx, r))
	if changes := o.applies(t, text); len(changes) != 0 {
		t.Errorf("got %d changes", len(changes))
	}
	r.Scopes = append(r.Scopes, issuer.Scope{Name: "last", Description: "S"})
	refused(t, o.PutResource(ctx, r), "has 501 scopes; 500 are as many as one may have")
	_, err := o.Apply(ctx, file(t, text+"      - {name: last, description: S}\n"))
	refused(t, err, "line 2: the resource https://notes.example/mcp has 501 scopes")
}

func TestAnApplicationHasOnlySoManyURIsForAfterSigningOut(t *testing.T) {
	o := open(t)
	o.acme(t)
	s := admin.ClientSpec{Name: "portal", RedirectURIs: []string{"https://a.example/cb"}}
	for i := range 21 {
		s.PostLogoutRedirectURIs = append(s.PostLogoutRedirectURIs, fmt.Sprintf("https://a.example/%d", i))
	}
	_, _, err := o.CreateClient(context.Background(), s)
	refused(t, err, "more than 20 URIs for after signing out")
	s.PostLogoutRedirectURIs = s.PostLogoutRedirectURIs[1:]
	_, _, err = o.CreateClient(context.Background(), s)
	must(t, err)
}

// A megabyte of tenants that are to have all scopes, and of scopes, became gigabytes: each tenant
// got them all.
func TestAShortFileDoesNotGiveEndlessly(t *testing.T) {
	ctx, o := context.Background(), open(t)
	resources := func(n int) string {
		text := "resources:\n"
		for i := range n {
			text += fmt.Sprintf("  - uri: https://notes.example/%d\n    scopes:\n", i)
			for j := range 500 {
				text += fmt.Sprintf("      - {name: s-%d-%d, description: S}\n", i, j)
			}
		}
		return text
	}
	_, err := o.Apply(ctx, file(t, resources(10)))
	refused(t, err, "the resources would have 5003 scopes together; 5000 are as many as a file may make")
	tenants := "tenants:\n"
	for i := range 3000 {
		tenants += fmt.Sprintf("  - id: t%d\n", i)
	}
	_, err = o.Apply(ctx, file(t, tenants+resources(1)))
	refused(t, err, "line 1990: the new tenants for which the file names no scopes would have more than 1000000 "+
		"together")
	if lines := o.lines(t); len(lines) > 0 {
		t.Errorf("it left %q", lines)
	}
}
