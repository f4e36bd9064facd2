package admin_test

import (
	"encoding/json"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// The line of a refused act says its reason, and of what was typed as somebody's name or address
// only that it was typed: a short word, or one of the reason's own, leaves the rest as it is.
func TestARefusalDoesNotSayWhatWasTyped(t *testing.T) {
	for _, row := range []struct {
		act       string
		arguments any
		want      string
	}{
		{"user.enable", "dora quimby", "there is no user (what was typed)"},
		{"user.enable", "e", "there is no user (what was typed)"},
		{"user.enable", "typed", "there is no user (what was typed)"},
		{"user.enable", "no", "there is (what was typed) user (what was typed)"},
		{"user.enable", " ", "there is no user  "},
		{"user.enable", "dora@acme.example", "there is no user (an address)"},
		{"user.create", admin.UserSpec{Email: "was", Name: "was"}, "(what was typed) is not an e-mail address"},
	} {
		o := open(t)
		arguments, err := json.Marshal(row.arguments)
		must(t, err)
		if _, err := o.Act(t.Context(), row.act, arguments); err == nil {
			t.Errorf("%s %v is not refused", row.act, row.arguments)
		}
		lines, err := o.Events(t.Context(), audit.Filter{Action: row.act, Limit: 1})
		must(t, err)
		if len(lines) != 1 || lines[0].Detail != row.want {
			t.Errorf("%s %v: got %+v, want %q", row.act, row.arguments, lines, row.want)
		}
	}
}
