package authserver_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
)

func clientCredentials() map[string][]string {
	return map[string][]string{"grant_type": {"client_credentials"}}
}

// runs runs a job as the operator and returns how it ended.
func (h *testServer) runs(name string) authserver.JobState {
	h.t.Helper()
	s, err := h.Server.Operator().RunJob(h.t.Context(), name)
	must(h.t, err)
	if s.Outcome != job.OK {
		h.t.Errorf("job %s: got %+v, want it done", name, s)
	}
	return s
}

// A key goes thirty days after the last token of it, with a line, and not before; what signs stays,
// and so does the proof of the audit.
func TestPastKeysGo(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	keys := func() (all []string) {
		found, err := h.Server.Operator().SigningKeys(t.Context())
		must(t, err)
		for _, k := range found {
			all = append(all, k.Algorithm+" "+k.State)
		}
		return all
	}
	_, err := h.Server.Operator().RotateKey(t.Context(), authserver.KeyTurn{Algorithm: "ES256", Soon: true})
	must(t, err)
	h.Clock.step(10 * time.Second) // from now on the next one signs
	h.Clock.step(30*24*time.Hour + time.Hour)
	h.start() // another process: the list of ended grants and all memory is anew
	if s := h.runs("keys"); s.Removed != 0 {
		t.Errorf("too early: %d went", s.Removed)
	}
	want := []string{"ES256 expired", "ES256 active", "RS256 active"}
	if got := keys(); !slices.Equal(got, want) {
		t.Errorf("before: got %q, want %q", got, want)
	}
	h.Clock.step(5 * time.Minute) // the clocks' leeway
	if s := h.runs("keys"); s.Removed != 1 {
		t.Errorf("in time: %d went, want the one", s.Removed)
	}
	if got := keys(); !slices.Equal(got, want[1:]) {
		t.Errorf("afterwards: got %q, want %q", got, want[1:])
	}
	if status, answer := m.token(clientCredentials()); status != 200 {
		t.Errorf("a token afterwards: got %d %v", status, answer)
	}
	h.runs("audit")
	if w, err := h.Server.Operator().VerifyAudit(t.Context(), authserver.AuditWalk{}); err != nil || w.Finding != nil {
		t.Errorf("the audit: got %+v %v, want it whole", w, err)
	}
}

// Two replicas whose time has come at once: each job is done by one of them, tokens are issued
// meanwhile, and the list says who did it.
func TestOneReplicaDoesAJob(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	other := h.process()
	defer other.Close()
	done := make(chan error, 2)
	for _, s := range []*authserver.Server{h.Server, other} {
		go func() { done <- s.RunJobs(t.Context()) }()
	}
	for range 5 {
		if status, answer := m.token(clientCredentials()); status != 200 {
			t.Errorf("a token meanwhile: got %d %v", status, answer)
		}
	}
	must(t, <-done)
	must(t, <-done)
	found, err := other.Operator().ListJobs(t.Context())
	must(t, err)
	for _, j := range found {
		if j.Run != 1 || j.Outcome != job.OK || j.Holder == "" || !j.NextAt.Equal(h.Clock.Now().Add(j.Every)) {
			t.Errorf("got %+v, want it done once, and its next run later", j)
		}
	}
}
