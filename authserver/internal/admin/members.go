package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// MemberSpec says which role a person gets in a tenant.
type MemberSpec struct {
	Email  string // or their id
	Tenant string
	Role   string // empty means reader
	Force  Force
}

// PutMember sets a person's role in a tenant.
func (d *API) PutMember(ctx context.Context, s MemberSpec) error {
	if s.Role == "" {
		s.Role = RoleReader
	}
	return d.Together(ctx, func(in *API) error {
		if err := in.role(ctx, s.Tenant, s.Role); err != nil {
			return err
		}
		u, err := in.user(ctx, s.Email)
		if err != nil {
			return err
		}
		if err := in.record(ctx, audit.Event{Action: "member.put", Target: u.ID, Tenant: s.Tenant,
			Detail: s.Force.Detail(s.Role)}); err != nil {
			return err
		}
		return clientadmin.Overrules(clientadmin.LockedOut(s.Force.Users(in.Users).PutMember(ctx, s.Tenant, u.ID,
			s.Role)))
	})
}

// RemovalSpec says whom to remove from a tenant.
type RemovalSpec struct {
	Email  string // or their id
	Tenant string
	Force  Force
}

// RemoveMember removes a person from a tenant and then revokes every grant that they made for it.
// An interrupted removal is finished by repeating it.
func (d *API) RemoveMember(ctx context.Context, s RemovalSpec) error {
	return d.Together(ctx, func(in *API) error {
		t, err := in.tenant(ctx, s.Tenant)
		if err != nil {
			return err
		}
		u, err := in.user(ctx, s.Email)
		if err != nil {
			return err
		}
		if err := in.recordOf(ctx, u, audit.Event{Action: "member.remove", Tenant: t.ID}, s.Force); err != nil {
			return err
		}
		err = clientadmin.Overrules(clientadmin.LockedOut(s.Force.Users(in.Users).RemoveMember(ctx, t.ID, u.ID)))
		if errors.Is(err, user.ErrNotFound) { // perhaps removed already, with the revocation interrupted
			alive, err := in.Grants.Grants(ctx, grant.Filter{UserID: u.ID, TenantID: t.ID, Active: true, Limit: 1})
			if err == nil && len(alive) == 0 {
				err = &Refusal{Reason: fmt.Sprintf("%s does not belong to tenant %s", u.Email, t.ID),
					Hint: "gatehouse member list shows who does", Err: user.ErrNotFound}
			}
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		return in.endAll(ctx, grant.Filter{UserID: u.ID, TenantID: t.ID}, grant.ReasonLeft)
	})
}

// ListMembers lists a tenant's members, ordered by address.
func (d *API) ListMembers(ctx context.Context, a PeopleAsked) ([]user.Member, error) {
	t, err := d.tenant(ctx, a.Tenant)
	if err != nil {
		return nil, err
	}
	return d.Users.Members(ctx, t.ID, a.limit())
}
