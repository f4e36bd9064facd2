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

// The types of the operator API, for programs that use it; see package admin.
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
	Act              = admin.Operation
	InitialTokenSpec = admin.InitialTokenSpec
	IssuerSpec       = admin.IssuerSpec
	GrantSelection   = admin.GrantSelection
	GrantsRevoked    = admin.GrantsRevoked
	KeyTurn          = admin.KeyRotation
	ResourceFound    = admin.ResourceFound
	KeyEnd           = admin.KeyWithdrawal
	KeyEnded         = admin.KeyWithdrawn
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

// MaxNames bounds how many ids one operation names.
const MaxNames = admin.MaxNames

// StepCall is the step of an attempt that only the MCP server knows, and the outcomes of attempts.
const (
	StepCall      = attempt.Call
	AttemptDone   = attempt.Done
	AttemptFailed = attempt.Failed
)

// The outcomes of a job's run that did not do all of it.
const (
	JobUnfinished = job.Unfinished
	JobFailed     = job.Failed
)

// The initial roles of every tenant.
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

// ForgotResource explains that a token is for another server than the one it was sent to, because
// its client sent no resource parameter.
func ForgotResource(audience, server string) string {
	return attempt.ForgotResource(audience, server)
}

// ErrNoServer says that no server runs on a data directory.
var ErrNoServer = admin.ErrNoServer

// ErrUnknownOperation says that the server has no such operation; it may be the MCP server's.
var ErrUnknownOperation = admin.ErrUnknownOperation

// ErrNoAnswer says that a running server may have done an operation and did not answer.
var ErrNoAnswer = admin.ErrNoAnswer

// ErrWrongKey says that the key-encryption key does not open the signing keys in the database.
var ErrWrongKey = keyring.ErrWrongKey

// ListenOperator opens the operator socket of a data directory, for Server.AdminHandler; see
// admin.Listen.
func ListenOperator(dir string) (net.Listener, error) { return admin.Listen(dir) }

// WithOperator returns a context in which an operator works on the stores directly, under the name
// that they stated and as the local user of this process.
func WithOperator(ctx context.Context, stated string) context.Context {
	return audit.WithOperator(ctx, stated, admin.LocalUser())
}

// ReachOperator finds the server that runs on a data directory, or returns ErrNoServer.
func ReachOperator(ctx context.Context, dir string) (*Remote, error) { return admin.Reach(ctx, dir) }

// MaxManifest bounds a manifest, in bytes.
const MaxManifest = manifest.MaxFile

// ReadManifest reads a manifest for the operations apply and apply.plan; see manifest.Read.
func ReadManifest(content []byte) (Blueprint, error) { return manifest.Read(content) }
