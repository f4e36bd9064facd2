package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// UserMade is the result of user.create.
type UserMade struct {
	User     user.User
	Password string // only when it was generated
}

// ClientMade is the result of client.create.
type ClientMade struct {
	Client client.Client
	Secret string // empty for a public client
}

// Operation is one operation of the operator API: JSON arguments in, a value for JSON out.
type Operation = func(ctx context.Context, arguments json.RawMessage) (any, error)

// operations returns all operations by name.
func (d *API) operations() map[string]Operation {
	return map[string]Operation{
		"apply": withBound(manifest.MaxValues,
			with(func(ctx context.Context, b manifest.Manifest) (any, error) { return d.Apply(ctx, b) })),
		"apply.plan": withBound(manifest.MaxValues,
			with(func(ctx context.Context, b manifest.Manifest) (any, error) { return d.Plan(ctx, b) })),
		"tenant.create": with(func(ctx context.Context, s TenantSpec) (any, error) { return d.CreateTenant(ctx, s) }),
		"tenant.list":   with(func(ctx context.Context, _ struct{}) (any, error) { return d.ListTenants(ctx) }),
		"tenant.show":   with(func(ctx context.Context, id string) (any, error) { return d.ShowTenant(ctx, id) }),
		"tenant.rename": with(func(ctx context.Context, s TenantName) (any, error) {
			return nil,
				d.RenameTenant(ctx, s)
		}),
		"tenant.suspend": with(func(ctx context.Context, id string) (any, error) {
			return nil,
				d.SuspendTenant(ctx, id)
		}),
		"tenant.resume": with(func(ctx context.Context, id string) (any, error) {
			return nil,
				d.ResumeTenant(ctx, id)
		}),
		"tenant.delete": with(func(ctx context.Context, id string) (any, error) {
			return nil,
				d.DeleteTenant(ctx, id)
		}),
		"policy.show": with(func(ctx context.Context, tenantID string) (any,
			error) {
			return d.ShowPolicy(ctx, tenantID)
		}),
		"policy.set": with(func(ctx context.Context, s PolicySpec) (any, error) { return d.SetPolicy(ctx, s) }),
		"role.put":   with(func(ctx context.Context, s RoleSpec) (any, error) { return nil, d.PutRole(ctx, s) }),
		"role.list": with(func(ctx context.Context, tenantID string) (any,
			error) {
			return d.ListRoles(ctx, tenantID)
		}),
		"role.delete": with(func(ctx context.Context, s RoleName) (any, error) {
			return nil,
				d.DeleteRole(ctx, s)
		}),
		"resource.list": with(func(ctx context.Context, _ struct{}) (any, error) { return d.ListResources(ctx) }),
		"resource.put": with(func(ctx context.Context, r issuer.Resource) (any, error) {
			return nil,
				d.PutResource(ctx, r)
		}),
		"resource.remove": with(func(ctx context.Context, uri string) (any, error) {
			return nil,
				d.RemoveResource(ctx, uri)
		}),
		"user.create": with(func(ctx context.Context, s UserSpec) (any, error) {
			u, password, err := d.CreateUser(ctx, s)
			u.PasswordHash = ""
			return UserMade{u, password}, err
		}),
		"user.list": with(func(ctx context.Context, a PeopleAsked) (any, error) { return d.ListUsers(ctx, a) }),
		"user.show": with(func(ctx context.Context, who string) (any, error) {
			u, err := d.user(ctx, who)
			u.PasswordHash = ""
			return u, err
		}),
		"user.disable": with(func(ctx context.Context, s DisableSpec) (any, error) {
			return nil,
				d.DisableUser(ctx, s)
		}),
		"user.enable": with(func(ctx context.Context, who string) (any, error) {
			return nil,
				d.EnableUser(ctx, who)
		}),
		"user.delete": with(func(ctx context.Context, s DeletionSpec) (any,
			error) {
			return d.DeleteUser(ctx, s)
		}),
		"user.set_password": with(func(ctx context.Context, s PasswordSpec) (any,
			error) {
			return d.SetPassword(ctx, s)
		}),
		"member.put": with(func(ctx context.Context, s MemberSpec) (any, error) {
			return nil,
				d.PutMember(ctx, s)
		}),
		"member.remove": with(func(ctx context.Context, s RemovalSpec) (any, error) {
			return nil,
				d.RemoveMember(ctx, s)
		}),
		"member.list": with(func(ctx context.Context, a PeopleAsked) (any,
			error) {
			return d.ListMembers(ctx, a)
		}),
		"client.create": with(func(ctx context.Context, s ClientSpec) (any, error) {
			c, secret, err := d.CreateClient(ctx, s)
			return ClientMade{bare(c), secret}, err
		}),
		"client.list": with(func(ctx context.Context, f client.Filter) (any, error) {
			clients, err := d.ListClients(ctx, f)
			for i := range clients {
				clients[i] = bare(clients[i])
			}
			return clients, err
		}),
		"client.scopes": with(func(ctx context.Context, a ScopesAsked) (any,
			error) {
			return d.ClientScopes(ctx, a)
		}),
		"client.replace_secret": with(func(ctx context.Context, s SecretTurn) (any,
			error) {
			return d.ReplaceSecret(ctx, s)
		}),
		"client.disable": with(func(ctx context.Context, id string) (any, error) {
			return nil,
				d.DisableClient(ctx, id)
		}),
		"client.enable": with(func(ctx context.Context, id string) (any, error) {
			return nil,
				d.EnableClient(ctx, id)
		}),
		"client.delete": with(func(ctx context.Context, id string) (any, error) {
			return nil,
				d.DeleteClient(ctx, id)
		}),
		"initial_token.create": with(func(ctx context.Context, s InitialTokenSpec) (any,
			error) {
			return d.CreateInitialToken(ctx, s)
		}),
		"issuer.trust": with(func(ctx context.Context, s IssuerSpec) (any, error) {
			return nil,
				d.TrustIssuer(ctx, s)
		}),
		"issuer.list": with(func(ctx context.Context, tenantID string) (any,
			error) {
			return d.ListIssuers(ctx, tenantID)
		}),
		"issuer.distrust": with(func(ctx context.Context, issuer string) (any, error) {
			return nil,
				d.DistrustIssuer(ctx, issuer)
		}),
		"grant.list": with(func(ctx context.Context, f grant.Filter) (any,
			error) {
			return d.ListGrants(ctx, f)
		}),
		"grant.revoke": with(func(ctx context.Context, g GrantSelection) (any,
			error) {
			return d.RevokeGrants(ctx, g)
		}),
		"key.list":   with(func(ctx context.Context, _ struct{}) (any, error) { return d.SigningKeys(ctx) }),
		"key.rotate": with(func(ctx context.Context, k KeyRotation) (any, error) { return d.RotateKey(ctx, k) }),
		"key.withdraw": with(func(ctx context.Context, k KeyWithdrawal) (any,
			error) {
			return d.WithdrawKey(ctx, k)
		}),
		"key.reseal": with(func(ctx context.Context, k Resealing) (any, error) { return d.Reseal(ctx, k) }),
		"job.list":   with(func(ctx context.Context, _ struct{}) (any, error) { return d.ListJobs(ctx) }),
		"job.run": with(func(ctx context.Context, name string) (any,
			error) {
			return d.RunJob(ctx, name)
		}),
		"name.list": with(func(ctx context.Context, ids IDs) (any, error) { return d.ListNames(ctx, ids) }),
		"audit.list": with(func(ctx context.Context, f audit.Filter) (any,
			error) {
			return d.Events(ctx, f)
		}),
		"audit.verify": with(func(ctx context.Context, w chain.Walk) (any,
			error) {
			return d.VerifyAudit(ctx, w)
		}),
		"attempt.list": with(func(ctx context.Context, f attempt.Filter) (any,
			error) {
			return d.ListAttempts(ctx, f)
		}),
	}
}

// bare returns a client without its hashes.
func bare(c client.Client) client.Client {
	c.SecretHash, c.OldSecretHash, c.ManageHash = "", "", ""
	return c
}

// with decodes an operation's arguments: one JSON value of type A without unknown members.
func with[A any](do func(context.Context, A) (any, error)) Operation {
	return func(ctx context.Context, arguments json.RawMessage) (any, error) {
		var a A
		d := json.NewDecoder(bytes.NewReader(arguments))
		d.DisallowUnknownFields()
		if err := d.Decode(&a); err != nil {
			return nil, refuse("", "the act's arguments cannot be read: %v", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, refuse("", "something follows the act's arguments")
		}
		return do(ctx, a)
	}
}

// withBound bounds the objects and list entries of the arguments before they are decoded, because
// two bytes of JSON may be hundreds in memory.
func withBound(most int, do Operation) Operation {
	return func(ctx context.Context, arguments json.RawMessage) (any, error) {
		d := json.NewDecoder(bytes.NewReader(arguments))
		var within []json.Delim // open brackets
		n := 0
		for {
			t, err := d.Token()
			if err != nil { // at the end, or where do reports the error
				return do(ctx, arguments)
			}
			delim, _ := t.(json.Delim)
			if delim == ']' || delim == '}' {
				within = within[:len(within)-1]
				continue
			}
			if delim == '{' || len(within) > 0 && within[len(within)-1] == '[' {
				n++
			}
			if n > most {
				return nil, refuse("", "the act's arguments have more than %d objects and members of lists", most)
			}
			if delim != 0 {
				within = append(within, delim)
			}
		}
	}
}

// ErrUnknownOperation says that the API has no such operation; it may be the MCP server's.
var ErrUnknownOperation = errors.New("there is no such act")

// Act runs the operation of this name, for commands in this process and others. A mistake of the
// operator is a *Refusal.
func (d *API) Act(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	do, ours := d.operations()[name]
	ok := ours
	if !ok {
		do, ok = d.More[name]
	}
	if !ok {
		return nil, &Refusal{Reason: fmt.Sprintf("there is no act %.80q", name),
			Hint: "the command and the server may be of different versions", Err: ErrUnknownOperation}
	}
	if ours && !isReadOnly(name) && !d.Keys.HasSecret() {
		// personal data in audit records is encrypted under it, and no server has run yet
		if err := d.Keys.EnsureSecret(ctx, d.Inherited); err != nil {
			return nil, err
		}
	}
	answer, err := do(ctx, arguments)
	if err != nil && ours {
		err = d.recordFailure(ctx, name, arguments, err)
	}
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encoding the answer of %s: %w", name, err)
	}
	return encoded, nil
}

// readOnlyVerbs are the verbs of operations that change nothing and have no audit record.
var readOnlyVerbs = []string{"list", "plan", "show", "scopes", "verify"}

// isReadOnly reports whether an operation changes nothing.
func isReadOnly(name string) bool {
	_, verb, _ := strings.Cut(name, ".")
	return slices.Contains(readOnlyVerbs, verb)
}

// withoutTyped returns why an operation was rejected, without the person's address or name that was
// typed.
func (d *API) withoutTyped(ctx context.Context, name string, arguments json.RawMessage, why string) string {
	var said struct{ Email, Name, User string }
	var alone string
	// arguments that are neither have no such words
	_, _ = json.Unmarshal(arguments, &said), json.Unmarshal(arguments, &alone)
	if noun, _, _ := strings.Cut(name, "."); noun != "user" {
		said.Name, alone = "", "" // the name of something else
	}
	var forms []string
	for _, typed := range []string{said.Email, said.Name, said.User, alone} {
		if strings.TrimSpace(typed) == "" || strings.HasPrefix(typed, user.Prefix) || strings.Contains(typed, "@") {
			continue
		}
		forms = append(forms, strconv.Quote(typed), fmt.Sprintf("%.80q", typed), typed, fmt.Sprintf("%.80s", typed))
	}
	return d.withoutAddresses(ctx, withoutWords(why, forms))
}

// withoutWords replaces each of the words in text, the longest first, by "(what was typed)". A word
// inside another, as "a" in "name", is not replaced.
func withoutWords(text string, words []string) string {
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	inside := func(left, right string) bool { // whether a word continues across the boundary
		a, _ := utf8.DecodeLastRuneInString(left)
		b, _ := utf8.DecodeRuneInString(right)
		return inWord(a) && inWord(b)
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		found := slices.IndexFunc(words, func(w string) bool {
			return strings.HasPrefix(text[i:], w) && !inside(text[:i], w) && !inside(w, text[i+len(w):])
		})
		if found >= 0 {
			out.WriteString("(what was typed)")
			i += len(words[found])
			continue
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		out.WriteString(text[i : i+size])
		i += size
	}
	return out.String()
}

func inWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }

// recordFailure writes the audit record of an operation that was rejected or failed, beside the one
// written before it was tried, and returns the operation's error.
func (d *API) recordFailure(ctx context.Context, name string, arguments json.RawMessage, err error) error {
	if isReadOnly(name) {
		return err
	}
	e := audit.Event{Action: name, Outcome: audit.Failed, Detail: d.withoutTyped(ctx, name, arguments, err.Error())}
	e.Target, e.Tenant = d.meant(ctx, name, arguments)
	var refused *Refusal
	if errors.As(err, &refused) {
		e.Outcome = audit.Refused
	}
	if unkept := d.record(context.WithoutCancel(ctx), e); unkept != nil {
		return errors.Join(err, unkept)
	}
	return err
}

// meant returns the target and tenant of an operation's arguments, as its audit record would have
// named them. A person is named by id; one that cannot be found by nothing, because a typed address
// must not enter the audit.
func (d *API) meant(ctx context.Context, name string, arguments json.RawMessage) (target, tenantID string) {
	var said map[string]json.RawMessage
	_ = json.Unmarshal(arguments, &said) // arguments that are no object have no target
	word := func(names ...string) string {
		for _, n := range names {
			var s string
			if json.Unmarshal(said[n], &s) == nil && s != "" {
				return s
			}
		}
		return ""
	}
	if tenantID = word("Tenant", "TenantID"); !tenant.ValidID(tenantID) {
		tenantID = ""
	}
	target, who := word("ID", "Client", "ClientID", "URI", "KID", "Issuer", "Role"), word("User", "Email")
	var alone string
	if json.Unmarshal(arguments, &alone) == nil {
		target = alone
	}
	noun, _, _ := strings.Cut(name, ".")
	switch {
	case noun == "user" || noun == "member" || target == "" && who != "":
		u, err := d.user(ctx, cmp.Or(who, alone))
		if err != nil {
			return "", tenantID
		}
		target = u.ID
	case target == "":
		target = tenantID
	case noun == "tenant" && tenant.ValidID(target):
		tenantID = target
	}
	return target, tenantID
}

// Operations returns the names of all operations, sorted.
func (d *API) Operations() []string {
	var names []string
	for _, acts := range []map[string]Operation{d.operations(), d.More} {
		for name := range acts {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
