package guard_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

// A call that changes something goes on when it is recorded, and not before: when it cannot be, it
// is answered 503 and the server behind learns nothing of it. One that reads is not asked about.
func TestACallThatChangesSomethingIsBegunBeforeItGoesOn(t *testing.T) {
	var fails error
	var begun []string
	var f *fort
	f = newFort(t, func(p *guard.Policy) {
		tables, err := guard.Always(guard.Rules{Tools: []guard.Rule{{Name: "read_it"}, {Name: "write_it", Write: true},
			{Name: "closed", Write: true, Scopes: []string{"other"}}}})
		must(t, err)
		p.Tables = tables
		p.Begin = func(_ context.Context, r *guard.Record) error {
			if n := len(f.behind.got()); n != 0 {
				t.Errorf("%d requests came to the server before the call was begun", n)
			}
			begun = append(begun, r.Decision.Name)
			if r.CallID == "" || r.Caller.TenantID == "" || r.Arguments == "" {
				t.Errorf("begun with %+v", r)
			}
			return fails
		}
	})
	raw := f.token()
	if w := f.send(raw, call("write_it")); w.Code != 200 || len(f.behind.got()) != 1 || len(begun) != 1 ||
		f.last().CallID == "" || !f.last().Passed {
		t.Errorf("a write: got %d, begun %v, recorded %+v", w.Code, begun, f.last())
	}
	for _, tool := range []string{"read_it", "closed"} {
		f.send(raw, call(tool))
		if f.behind.got(); len(begun) != 1 || f.last().CallID != "" {
			t.Errorf("%s: begun %v", tool, begun)
		}
	}
	fails = errors.New("the disk is full")
	w := f.send(raw, call("write_it"))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || len(f.behind.got()) != 0 ||
		f.last().Passed || f.last().Refused != guard.RefusedUnrecorded {
		t.Errorf("a write that cannot be recorded: got %d %s, recorded %+v", w.Code, w.Body, f.last())
	}
	if w := f.send(raw, call("read_it")); w.Code != 200 {
		t.Errorf("a read meanwhile: got %d", w.Code)
	}
}
