package issuer_test

import (
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
)

// A scope whose access is not stated writes, unless its name says that it reads and nothing in it
// says that it changes something.
func TestScopesWrite(t *testing.T) {
	for name, writes := range map[string]bool{
		"notes:read": false, "search.query": false, "read:org": false, "list_notes": false, "posts.READ": false,
		"order-view": false,
		"notes":      true, "notes:write": true, "read_write": true, "readWrite": true, "notes.readwrite": true,
		"get_or_create": true, "list_and_delete": true,
		"search_and_replace": true, "find_and_remove": true, "view:approve": true, "read.modify": true, "get_put": true,
		"list-append":  true,
		"query:insert": true, "read_and_publish": true, "find_rename": true, "list:submit": true, "getAll": true,
		"": true, "12": true,
	} {
		if got := (issuer.Scope{Name: name}).Writes(); got != writes {
			t.Errorf("%q writes: got %v, want %v", name, got, writes)
		}
	}
	if (issuer.Scope{Name: "notes:write", Access: issuer.AccessRead}).Writes() ||
		!(issuer.Scope{Name: "notes:read", Access: issuer.AccessWrite}).Writes() {
		t.Error("what the operator states of a scope does not count before its name")
	}
}
