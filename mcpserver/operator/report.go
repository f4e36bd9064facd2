package operator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/rollout"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/usage"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// ReportQuery selects the rollout report.
type ReportQuery struct {
	Tenant string        // empty: all
	Within time.Duration // how far back; 0: seven days
}

// usualWithin is how long nothing may have been denied before enforcing is called safe.
const usualWithin = 7 * 24 * time.Hour

// mostRows limits the rows of a report.
const mostRows = 200

// Report says who would be denied what, and where enforcing is safe.
type Report struct {
	Since        time.Time
	Tenants      []TenantReport
	AnonymousUse []UsageRow // requests without a valid token, by User-Agent
	Anonymous    bool       // such requests may be allowed
	Modes        []Mode
}

// TenantReport is the report on one tenant.
type TenantReport struct {
	Tenant   string
	Mode     string // for tools without a mode of their own
	Traffic  Traffic
	Refused  []UsageRow // allowed, but would be denied
	Enforced bool       // everything is enforced already
	Safe     bool       // enforcing everything is safe
	Writes   bool       // enforcing writes is safe
	Why      []string   // reasons why enforcing everything is not safe
}

// Report returns the rollout report. The last seconds of other replicas may be missing.
func (g *Registry) Report(ctx context.Context, a ReportQuery) (Report, error) {
	if a.Within <= 0 {
		a.Within = usualWithin
	}
	if err := g.usage.Flush(ctx); err != nil {
		return Report{}, err
	}
	if err := g.modes.Refresh(ctx); err != nil {
		return Report{}, err
	}
	r := Report{Since: g.Now().Add(-a.Within).UTC().Truncate(time.Second), Anonymous: g.Anonymous, Modes: g.modes.All()}
	traffic, err := usage.TrafficSince(ctx, g.store, r.Since)
	if err != nil {
		return Report{}, err
	}
	for _, tenant := range g.tenants(a.Tenant, traffic) {
		t, err := g.tenantReport(ctx, tenant, r, traffic)
		if err != nil {
			return Report{}, err
		}
		r.Tenants = append(r.Tenants, t)
	}
	if a.Tenant == "" {
		r.AnonymousUse, err = usage.List(ctx, g.store, usage.Filter{Nobody: true, Since: r.Since, Limit: mostRows})
	}
	return r, err
}

// tenants returns the tenants of a report: the given one, or all with traffic or a mode.
func (g *Registry) tenants(asked string, traffic map[string]Traffic) []string {
	if asked != "" {
		return []string{asked}
	}
	seen := map[string]bool{}
	for tenant := range traffic {
		seen[tenant] = true
	}
	for _, m := range g.modes.All() {
		seen[m.Tenant] = true
	}
	for _, none := range []string{rollout.Nobody, rollout.Everyone, usage.Other} {
		delete(seen, none)
	}
	return slices.Sorted(maps.Keys(seen))
}

func (g *Registry) tenantReport(ctx context.Context, tenant string, r Report, traffic map[string]Traffic) (TenantReport,
	error) {
	mode, _ := g.modes.Why(tenant, "")
	t := TenantReport{Tenant: tenant, Mode: string(mode.Mode), Traffic: traffic[tenant], Enforced: true}
	var err error
	if t.Refused,
		err = usage.List(ctx, g.store, usage.Filter{Tenant: tenant, Since: r.Since, Outcome: guard.OutcomeObserved,
		Limit: mostRows}); err != nil {
		return t, err
	}
	var since time.Time
	for _, tool := range g.moded(tenant, r.Modes) {
		if m, _ := g.modes.Why(tenant, tool); m.Mode != guard.Enforce {
			t.Enforced = false
			if m.SetAt.After(since) {
				since = m.SetAt
			}
		}
	}
	t.Why = t.doubts(r.Since, since, traffic[usage.Other])
	t.Safe = len(t.Why) == 0
	reads := t
	reads.Traffic.Observed = g.writes(t)
	t.Writes = len(reads.doubts(r.Since, since, traffic[usage.Other])) == 0
	return t, nil
}

// moded returns the names to which a tenant's modes apply: tools, servers, all tools (""), and
// tools of a pattern for which a mode is set.
func (g *Registry) moded(tenant string, modes []Mode) []string {
	names := append(g.names(tenant), "")
	for _, m := range modes {
		if (m.Tenant == tenant || m.Tenant == rollout.Everyone) && m.Tool != "" && g.unknown(tenant, m.Tool) == nil {
			names = append(names, m.Tool)
		}
	}
	return names
}

// writes returns how many of the requests that would be denied are writes by the current rules. If
// not all are known, it counts all.
func (g *Registry) writes(t TenantReport) (n int64) {
	if len(t.Refused) == mostRows {
		return t.Traffic.Observed
	}
	for _, row := range t.Refused {
		s, tool := g.find(row.Name)
		if s == nil || s.Table(t.Tenant).Decide(mcp.Caller{}, guard.KindTool, tool).Write {
			n += row.Calls
		}
	}
	return n
}

// doubts returns the reasons why enforcing is not safe. Without traffic, nothing is safe.
func (t *TenantReport) doubts(since, observedSince time.Time, others Traffic) (why []string) {
	if t.Enforced {
		return nil
	}
	if n := t.Traffic.Observed; n > 0 {
		last := int64(0)
		for _, row := range t.Refused {
			last = max(last, row.Last)
		}
		why = append(why, fmt.Sprintf("%d requests would have been refused, the last at %s", n,
			time.Unix(last, 0).UTC().Format(time.RFC3339)))
	}
	if t.Traffic.Passed == 0 {
		why = append(why, "no request passed in this time, so nothing is known")
	}
	if observedSince.After(since) {
		why = append(why, "it is observed only since "+observedSince.Format(time.RFC3339))
	}
	if others.Observed > 0 {
		why = append(why, fmt.Sprintf("%d requests that would have been refused were counted without their tenant",
			others.Observed))
	}
	return why
}
