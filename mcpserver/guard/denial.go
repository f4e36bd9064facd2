package guard

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// Denial explains to the operator why a request was not authenticated or lacks a scope: one
// sentence on what is wrong and what to do. It holds no token, and no query of a URL.
type Denial struct {
	Reason   string // one of the constants below
	Sentence string
	// Client and Tenant are those of the token, if its signature is valid; otherwise empty.
	Client, Tenant string
	// About distinguishes denials with the same reason: an Origin, an audience, or a tool.
	About string
	// Resource is the URI of the server that denied the request.
	Resource string
}

// Values of Denial.Reason.
const (
	DenyOrigin   = "origin"
	DenyHost     = "host"
	DenyHeader   = "header" // the token is not presented in the right way
	DenyForm     = "form"   // of the token
	DenyKey      = "key"    // that signed it
	DenyIssuer   = "issuer"
	DenyAudience = "audience"
	DenyExpired  = "expired"
	DenyFuture   = "future"
	DenyClaims   = "claims"
	DenyRevoked  = "revoked"
	DenyProof    = "proof"
	DenyScope    = "scope"
)

// invalidToken explains why a token is invalid. c are its claims, zero if the signature is not
// valid.
func (g *Guard) invalidToken(err error, c token.Claims) *Denial {
	w := &Denial{Client: c.ClientID, Tenant: c.TenantID}
	now := time.Unix(g.config.Now().Unix(), 0) // whole seconds, as in a token
	switch {
	case errors.Is(err, token.ErrAudience):
		w.Reason, w.About = DenyAudience, bareURL(c.Audience)
		w.Sentence = fmt.Sprintf("The client presented a token for %s, and this server is %s: it must request one "+
			"with resource=%[2]s; if both mean this server, correct its --resource.",
			cmp.Or(w.About, "another server, or several"), g.config.Resource)
	case errors.Is(err, token.ErrExpired):
		w.Reason = DenyExpired
		w.Sentence = fmt.Sprintf("The client presented a token that expired %s ago: it must refresh it as expires_in "+
			"says; if it was just issued, this server's clock is ahead of the issuer's, so set both by NTP.",
			apart(now, time.Unix(c.Expires, 0)))
	case errors.Is(err, token.ErrNotYet):
		w.Reason = DenyFuture
		w.Sentence = fmt.Sprintf("The client presented a token that by this server's clock is valid only in %s: this "+
			"server's clock is behind the issuer's, so set both by NTP (%s are tolerated).",
			apart(time.Unix(max(c.IssuedAt, c.NotBefore), 0), now), seconds(Leeway))
	case errors.Is(err, token.ErrIssuer):
		w.Reason = DenyIssuer
		w.Sentence = fmt.Sprintf("The client presented a token of another issuer than %s: it must use the one "+
			"that the "+
			"protected resource metadata name, and --issuer must be the same at the issuer and here.", g.config.Issuer)
	case errors.Is(err, token.ErrUnknownKey):
		w.Reason = DenyKey
		w.Sentence = fmt.Sprintf("A client presented a token signed with a key that %s does not publish: the token is "+
			"of another issuer, or the key was withdrawn, and the client must get a new token.", g.config.Issuer)
	case errors.Is(err, token.ErrSignature):
		w.Reason = DenyKey
		w.Sentence = "A client presented a token with an invalid signature: it was changed, or its algorithm is not " +
			"accepted here, and the client must get a new token."
	case errors.Is(err, token.ErrType):
		w.Reason = DenyForm
		w.Sentence = "A client presented a token that is not an access token: it must send the access_token of the " +
			"token response, not the id_token or a client assertion."
	case errors.Is(err, token.ErrMalformed):
		w.Reason = DenyForm
		w.Sentence = "A client presented something that is not an access token of this kind of issuer: it must " +
			"send the access_token of the token response, not a refresh token, a key or a password."
	default:
		w.Reason = DenyClaims
		w.Sentence = "The client presented a token with a missing or wrong claim: the versions of the issuer " +
			"and this server do not fit."
	}
	return w
}

// revokedGrant explains that the grant is revoked.
func revokedGrant(c mcp.Caller) *Denial {
	return &Denial{Reason: DenyRevoked, Client: c.ClientID, Tenant: c.TenantID,
		Sentence: "The client presented a token whose grant is revoked: `gatehouse grant list` says why, and " +
			"the user must authorize the client again."}
}

// invalidProof explains why a DPoP proof is invalid.
func invalidProof(err error, client, tenant string) *Denial {
	w := &Denial{Reason: DenyProof, Client: client, Tenant: tenant}
	var clock interface{ ClockOff() time.Duration }
	if errors.As(err, &clock) {
		w.Sentence = fmt.Sprintf("The client sent a DPoP proof that was made %s %s by this server's clock: set the "+
			"clock of the client's machine, or of this one, by NTP.",
			seconds(clock.ClockOff().Abs()),
			map[bool]string{true: "in the future", false: "in the past"}[clock.ClockOff() > 0])
		return w
	}
	w.Sentence = fmt.Sprintf("The client's token is bound to a key, or must be, and was not presented with a valid "+
		"DPoP proof (%s): its developers must fix that.", strings.TrimSuffix(err.Error(), "."))
	return w
}

// wrongSource explains why the Host or Origin is not allowed.
func (g *Guard) wrongSource(r *http.Request) *Denial {
	for _, origin := range r.Header["Origin"] {
		if !g.origins[origin] {
			about := bareURL(origin)
			return &Denial{Reason: DenyOrigin, About: about, Sentence: fmt.Sprintf(
				"A web page of %s tried to call this server from a browser, and its origin is not allowed: if it "+
					"may, add it to --allowed-origins (allowed_origins in a gateway's file).",
				cmp.Or(about, "an unreadable origin"))}
		}
	}
	return &Denial{Reason: DenyHost,
		Sentence: "A client called this server with a Host header that is not allowed: if " +
			"it is a name of this server, add it to --allowed-hosts (allowed_hosts in a gateway's file)."}
}

// missingScopes explains which scopes a call needs.
func missingScopes(r *Record) *Denial {
	what := cmp.Or(r.NameLabel(), r.MethodLabel())
	return &Denial{Reason: DenyScope, About: what, Client: r.Caller.ClientID, Tenant: r.Caller.TenantID,
		Sentence: fmt.Sprintf(
			"The client called %s, for which its token lacks the scopes %s: it must ask the user for these, and the "+
				"user's role must include them (`gatehouse explain` shows what it includes).", what,
			strings.Join(r.Decision.Lacking, " "))}
}

// apart returns the time between two moments, in whole seconds.
func apart(late, early time.Time) string { return seconds(late.Sub(early)) }

func seconds(d time.Duration) string { return fmt.Sprintf("%d seconds", int64(d/time.Second)) }

// maxAbout is the longest URL that is kept, in bytes.
const maxAbout = 200

// bareURL returns a URL without userinfo, query and fragment, which may hold secrets. Empty if it
// cannot be parsed.
func bareURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Host == "" || len(raw) > maxAbout ||
		strings.ContainsFunc(u.Host, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}
