package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// Somebody who looks at the settings in another environment than the server's is told that the
// server has others, and which; a secret is in neither answer.
func TestConfigShowSaysThatARunningServerHasOtherSettings(t *testing.T) {
	dir := t.TempDir()
	code, _, errs := run(t, "config", "show", "--data-dir", dir)
	if code != 0 || errs != "" {
		t.Errorf("without a server: %d %s", code, errs)
	}
	serve(t, dir, "--demo=false", "--access-token-lifetime", "5m")
	same := []string{"--issuer-listen", "127.0.0.1:0", "--resource-listen", "127.0.0.1:0", "--demo=false",
		"--access-token-lifetime", "300s", "--data-dir", dir}
	if code, out, errs := run(t, append([]string{"config", "show"}, same...)...); code != 0 || errs != "" ||
		strings.Contains(out, "RUNNING") {
		t.Errorf("with the server's settings: %d %s%s", code, out, errs)
	}
	env := map[string]string{"GATEHOUSE_REDIS": "redis://:hunter2@cache:6379/0"}
	words := append(append([]string{"config", "show"}, same...), "--access-token-lifetime", "7m")
	code, out, errs := with(t, env, words...)
	if code != 0 || !strings.Contains(errs, `was started with other settings than these: `) ||
		!strings.Contains(errs, `access-token-lifetime "5m0s"`) || !strings.Contains(errs, "redis (secret)") {
		t.Errorf("with others: %d %s", code, errs)
	}
	if strings.Contains(errs, "issuer-listen") || strings.Contains(out+errs, "hunter2") {
		t.Errorf("%s%s", out, errs)
	}
	code, out, _ = with(t, env, append(words, "--json")...)
	var rows []struct{ Setting, Value, Running string }
	if err := json.Unmarshal([]byte(out), &rows); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	others := map[string]string{}
	for _, r := range rows {
		if r.Running != "" {
			others[r.Setting] = r.Running
		}
	}
	if len(others) != 2 || others["access-token-lifetime"] != "5m0s" || others["redis"] != "••••••••" {
		t.Errorf("got %v, want access-token-lifetime and redis", others)
	}
}

// Tables show beside an id what has it, as it is called now, in bounds and without what hides or
// turns text; JSON has the id and the name by themselves.
func TestListsNameWhatTheIdsAreOf(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, "--demo=false")
	do(t, dir, "", "", "tenant", "create", "--id", "acme", "--name", "Acme Corporation of Everywhere and Elsewhere")
	made := do(t, dir, "", "", "user", "create", "--email", "ann@acme.example", "--tenant", "acme", "--json")
	var ann struct{ ID string }
	must(t, json.Unmarshal([]byte(made), &ann))
	do(t, dir, "", "acme (Acme Corporation of Eve…)", "audit", "list", "--action", "member.put")
	do(t, dir, "", ann.ID+" (ann@acme.example)", "audit", "list", "--user", "ann@acme.example")
	do(t, dir, "", `"target":"`+ann.ID+`","target_name":"ann@acme.example"`, "audit", "list", "--action", "user.create",
		"--json")
	do(t, dir, "", "ann@acme.example", "audit", "list", "--action", "user.create") // in the detail, too
	do(t, dir, "", "cli_", "client", "create", "--tenant", "acme", "--scopes", "customers:read", "--name", "nightly")
	do(t, dir, "", `"tenant":"acme","tenant_name":"Acme Corporation of Everywhere and Elsewhere"`, "client", "list",
		"--json")
	do(t, dir, "", "(nightly)", "audit", "list", "--action", "client.create")
	do(t, dir, "", "user "+ann.ID+" is deleted", "user", "delete", ann.ID, "--yes")
	pseudonym := "deleted user " + strings.TrimPrefix(ann.ID, "usr_")[:8] + "…"
	do(t, dir, "", ann.ID+" ("+pseudonym+")", "audit", "list", "--user", ann.ID)
	if said := do(t, dir, "", pseudonym, "audit", "list"); strings.Contains(said, "ann@") {
		t.Errorf("the address is still said:\n%s", said)
	}
	do(t, dir, "", "as they were sealed", "audit", "verify")
}
