package httpd_test

import (
	"net/http/httptest"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

func TestNotFoundIsSeenBelowWellKnown(t *testing.T) {
	for _, row := range []struct {
		method, path, origin string
		status               int
	}{
		{"GET", "/.well-known/x", "*", 404}, {"OPTIONS", "/.well-known/x", "*", 204},
		{"POST", "/.well-known/x", "*", 404}, {"GET", "/x", "", 404}, {"OPTIONS", "/x/.well-known/", "", 404},
	} {
		w := httptest.NewRecorder()
		httpd.NotFound(w, httptest.NewRequest(row.method, row.path, nil))
		if w.Code != row.status || w.Header().Get("Access-Control-Allow-Origin") != row.origin {
			t.Errorf("%s %s: got %d %q, want %d %q", row.method, row.path, w.Code,
				w.Header().Get("Access-Control-Allow-Origin"), row.status, row.origin)
		}
	}
}

func TestIsText(t *testing.T) {
	for s, want := range map[string]bool{"/a/ä": true, "": true, "/\x00": false, "/\xff": false, "\n": false,
		"\x7f": false, "\u0085": false} {
		if httpd.IsText(s) != want {
			t.Errorf("%q: got %v, want %v", s, !want, want)
		}
	}
}
