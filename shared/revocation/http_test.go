package revocation_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// The list of revoked grants that an issuer answers has one reading: nothing beside the known names
// hides a grant.
func TestAFeedHasOneReading(t *testing.T) {
	answer := ""
	s := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
	defer s.Close()
	h := &revocation.HTTP{URL: s.URL, Client: s.Client()}
	for _, answer = range []string{
		`{"ended":[{"grant_id":"grt_a","until":9}],"cursor":"c","now":1}`,
		`{"ended":[{"grant_id":"grt_a","until":9}],"Ended":[],"cursor":"c","now":1}`,
		`{"ended":[{"grant_id":"grt_a","GRANT_ID":"grt_b","until":9,"Until":0}],"cursor":"c","now":1,"more":false,` +
			`"unknown":{}}`,
	} {
		b, err := h.Next(ctx, "")
		if err != nil || len(b.Ended) != 1 || b.Ended[0].GrantID != "grt_a" || b.Ended[0].Until.Unix() != 9 {
			t.Errorf("%s: got %+v %v, want grt_a", answer, b, err)
		}
	}
	for _, answer = range []string{
		`{"ended":[{"grant_id":"grt_a","until":9}],"ended":[],"cursor":"c","now":1}`,
		`{"ended":[{"grant_id":"grt_a","grant_id":"grt_b","until":9}],"cursor":"c","now":1}`,
		`{"ended":[],"ended\u0000":[{"grant_id":"grt_a","until":9}],"cursor":"c","now":1}`,
		`{"ended":[],"Cursor":"c","now":1}`, `{"ended":[],"cursor":"c","now":1}{}`,
		"{\"ended\":[],\"cursor\":\"\xff\",\"now\":1}",
	} {
		if b, err := h.Next(ctx, ""); !errors.Is(err, revocation.ErrUnknown) {
			t.Errorf("%s: got %+v %v, want ErrUnknown", answer, b, err)
		}
	}
}
