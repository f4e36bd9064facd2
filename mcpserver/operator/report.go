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

// ReportAsked says what the rollout's report is about.
type ReportAsked struct {
	Tenant string        // empty: all
	Within time.Duration // how far back; 0: seven days
}

// usualWithin is how long nothing must have been refused before it is called safe to enforce.
const usualWithin = 7 * 24 * time.Hour

// mostRows bounds what one report names.
const mostRows = 200

// Report says who would be refused what, and where it is safe to enforce.
type Report struct {
	Since     time.Time
	Tenants   []TenantReport
	Nobody    []UsageRow // requests without a good token, by what their programs call themselves
	Anonymous bool       // such requests may pass
	Modes     []Mode
}

// TenantReport is that of one tenant.
type TenantReport struct {
	Tenant   string
	Mode     string // for tools without a mode of their own
	Traffic  Traffic
	Refused  []UsageRow // what passed, and would be refused
	Enforced bool       // everything is enforced already
	Safe     bool       // to enforce everything
	Writes   bool       // to enforce what changes something
	Why      []string   // it is not safe to enforce everything
}

// Report sums up the rollout. What other replicas counted in the last seconds may not be in it.
func (d *Desk) Report(ctx context.Context, a ReportAsked) (Report, error) {
	if a.Within <= 0 {
		a.Within = usualWithin
	}
	if err := d.usage.Flush(ctx); err != nil {
		return Report{}, err
	}
	if err := d.modes.Refresh(ctx); err != nil {
		return Report{}, err
	}
	r := Report{Since: d.Now().Add(-a.Within).UTC().Truncate(time.Second), Anonymous: d.Anonymous, Modes: d.modes.All()}
	traffic, err := usage.TrafficSince(ctx, d.book, r.Since)
	if err != nil {
		return Report{}, err
	}
	for _, tenant := range d.tenants(a.Tenant, traffic) {
		t, err := d.tenantReport(ctx, tenant, r, traffic)
		if err != nil {
			return Report{}, err
		}
		r.Tenants = append(r.Tenants, t)
	}
	if a.Tenant == "" {
		r.Nobody, err = usage.List(ctx, d.book, usage.Filter{Nobody: true, Since: r.Since, Limit: mostRows})
	}
	return r, err
}

// tenants are those that the report speaks of: the one that was asked for, or all that were seen or
// have a mode.
func (d *Desk) tenants(asked string, traffic map[string]Traffic) []string {
	if asked != "" {
		return []string{asked}
	}
	seen := map[string]bool{}
	for tenant := range traffic {
		seen[tenant] = true
	}
	for _, m := range d.modes.All() {
		seen[m.Tenant] = true
	}
	for _, none := range []string{rollout.Nobody, rollout.Everyone, usage.Other} {
		delete(seen, none)
	}
	return slices.Sorted(maps.Keys(seen))
}

func (d *Desk) tenantReport(ctx context.Context, tenant string, r Report, traffic map[string]Traffic) (TenantReport,
	error) {
	mode, _ := d.modes.Why(tenant, "")
	t := TenantReport{Tenant: tenant, Mode: string(mode.Mode), Traffic: traffic[tenant], Enforced: true}
	var err error
	if t.Refused,
		err = usage.List(ctx, d.book, usage.Filter{Tenant: tenant, Since: r.Since, Outcome: guard.OutcomeObserved,
		Limit: mostRows}); err != nil {
		return t, err
	}
	var since time.Time
	for _, tool := range d.moded(tenant, r.Modes) {
		if m, _ := d.modes.Why(tenant, tool); m.Mode != guard.Enforce {
			t.Enforced = false
			if m.SetAt.After(since) {
				since = m.SetAt
			}
		}
	}
	t.Why = t.doubts(r.Since, since, traffic[usage.Other])
	t.Safe = len(t.Why) == 0
	reads := t
	reads.Traffic.Observed = d.writes(t)
	t.Writes = len(reads.doubts(r.Since, since, traffic[usage.Other])) == 0
	return t, nil
}

// moded are the names for which a tenant's modes count: of tools that are known, of servers, of all
// (""), and of tools that a rule with a star alone opens and that somebody has set a mode for.
func (d *Desk) moded(tenant string, modes []Mode) []string {
	names := append(d.names(tenant), "")
	for _, m := range modes {
		if (m.Tenant == tenant || m.Tenant == rollout.Everyone) && m.Tool != "" && d.unknown(tenant, m.Tool) == nil {
			names = append(names, m.Tool)
		}
	}
	return names
}

// writes is how many of the requests that would be refused change something, as the rules have it
// now. When not all are known, all do.
func (d *Desk) writes(t TenantReport) (n int64) {
	if len(t.Refused) == mostRows {
		return t.Traffic.Observed
	}
	for _, row := range t.Refused {
		s, tool := d.find(row.Name)
		if s == nil || s.Table(t.Tenant).Decide(mcp.Caller{}, guard.KindTool, tool).Write {
			n += row.Calls
		}
	}
	return n
}

// doubts are the reasons why it is not safe to enforce. Where nothing is known, nothing is called
// safe.
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
