package authserver

import (
	"context"
	"net"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// What the operator's door speaks, for programs outside this wing; see there.
type (
	Remote           = admin.Remote
	Refusal          = admin.Refusal
	Blueprint        = manifest.Manifest
	Change           = admin.Change
	ChangedField     = admin.Field
	TenantSpec       = admin.TenantSpec
	TenantName       = admin.TenantName
	TenantShown      = admin.TenantShown
	PolicySpec       = admin.PolicySpec
	RoleName         = admin.RoleName
	PeopleAsked      = admin.PeopleAsked
	PasswordSpec     = admin.PasswordSpec
	RemovalSpec      = admin.RemovalSpec
	DisableSpec      = admin.DisableSpec
	Force            = admin.Force
	IDs              = admin.IDs
	Names            = admin.Names
	DeletionSpec     = admin.DeletionSpec
	UserDeleted      = admin.UserDeleted
	RoleSpec         = admin.RoleSpec
	UserSpec         = admin.UserSpec
	UserMade         = admin.UserMade
	MemberSpec       = admin.MemberSpec
	ClientSpec       = admin.ClientSpec
	ClientMade       = admin.ClientMade
	SecretTurn       = admin.SecretTurn
	ScopesAsked      = admin.ScopesAsked
	ScopesFound      = admin.ScopesFound
	Act              = admin.Act
	InitialTokenSpec = admin.InitialTokenSpec
	IssuerSpec       = admin.IssuerSpec
	GrantSelection   = admin.GrantSelection
	GrantsRevoked    = admin.GrantsRevoked
	KeyTurn          = admin.KeyTurn
	ResourceFound    = admin.ResourceFound
	KeyEnd           = admin.KeyEnd
	KeyEnded         = admin.KeyEnded
	Resealing        = admin.Resealing
	Resealed         = admin.Resealed
	Tenant           = tenant.Tenant
	Policy           = tenant.Policy
	Role             = user.Role
	User             = user.User
	Member           = user.Member
	Client           = client.Client
	ClientFilter     = client.Filter
	Grant            = grant.Grant
	GrantFilter      = grant.Filter
	Key              = keyring.Info
	Sealer           = keyring.Sealer
	TrustedIssuer    = trustedissuer.Issuer
	AuditWalk        = chain.Walk
	AuditWalked      = chain.Walked
	Attempt          = attempt.Attempt
	AttemptFilter    = attempt.Filter
	AttemptsFound    = admin.AttemptsFound
	JobFound         = admin.JobFound
	JobState         = job.State
)

// MaxNames bounds how many ids one act names.
const MaxNames = admin.MaxNames

// StepCall is the step of a connection that only the MCP server knows, and the outcomes that there
// are.
const (
	StepCall      = attempt.Call
	AttemptDone   = attempt.Done
	AttemptFailed = attempt.Failed
)

// How a job's run ended that did not do all of it.
const (
	JobUnfinished = job.Unfinished
	JobFailed     = job.Failed
)

// The roles that every tenant begins with.
const (
	RoleAdmin  = admin.RoleAdmin
	RoleReader = admin.RoleReader
)

// The states of signing keys.
const (
	KeyNext      = keyring.StateNext
	KeyActive    = keyring.StateActive
	KeyRetired   = keyring.StateRetired
	KeyExpired   = keyring.StateExpired
	KeyWithdrawn = keyring.StateWithdrawn
)

// ForgotResource says why a token is for another server than the one that it was shown to, when its
// client had named no resource.
func ForgotResource(audience, server string) string {
	return attempt.ForgotResource(audience, server)
}

// ErrNoServer says that no server runs on a data directory.
var ErrNoServer = admin.ErrNoServer

// ErrNoAct says that a server's door does not know an act: it may be the MCP server's.
var ErrNoAct = admin.ErrNoAct

// ErrUnsaid says that a running server may have done an act and may not have.
var ErrUnsaid = admin.ErrUnsaid

// ErrWrongKey says that the key-encryption key does not open the signing keys in the database.
var ErrWrongKey = keyring.ErrWrongKey

// ListenOperator opens the operator's socket of a data directory, for Server.AdminHandler; see
// admin.Listen.
func ListenOperator(dir string) (net.Listener, error) { return admin.Listen(dir) }

// WithOperator is a context in which an operator acts on the stores themselves: as the name that
// they stated, and as the local user of this process.
func WithOperator(ctx context.Context, stated string) context.Context {
	return audit.WithOperator(ctx, stated, admin.LocalUser())
}

// ReachOperator finds the server that runs on a data directory, or answers ErrNoServer.
func ReachOperator(ctx context.Context, dir string) (*Remote, error) { return admin.Reach(ctx, dir) }

// MaxBlueprint bounds a file that says what there should be, in bytes.
const MaxBlueprint = manifest.MaxFile

// ReadBlueprint reads a file that says what there should be, for the acts apply and apply.plan; see
// blueprint.Read.
func ReadBlueprint(content []byte) (Blueprint, error) { return manifest.Read(content) }
