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

// Denial is what the operator is told of a refusal at the door: whom it met, as far as that is
// sure, and one sentence on what was wrong and what to do. It holds no token, and of an address no
// query.
type Denial struct {
	Reason   string // one of the words below
	Sentence string
	// Client and Tenant are those of the token that was refused, when the issuer has signed it;
	// empty: nobody knows.
	Client, Tenant string
	// About is what tells refusals for one reason apart: an Origin, or whom a token is for.
	About string
	// Resource is the URI of the server that refused.
	Resource string
}

// Why a request was refused at the door, in a word.
const (
	DenyOrigin   = "origin"
	DenyHost     = "host"
	DenyHeader   = "header" // the token is not shown as it must be
	DenyForm     = "form"   // of the token
	DenyKey      = "key"    // that signed it
	DenyIssuer   = "issuer"
	DenyAudience = "audience"
	DenyExpired  = "expired"
	DenyFuture   = "future"
	DenyClaims   = "claims"
	DenyRevoked  = "ended"
	DenyProof    = "proof"
	DenyScope    = "scope"
)

// untrusted says why a token was not believed. c is what it says of itself, zero when the issuer
// has not signed it.
func (g *Guard) invalidToken(err error, c token.Claims) *Denial {
	w := &Denial{Client: c.ClientID, Tenant: c.TenantID}
	now := time.Unix(g.config.Now().Unix(), 0) // in whole seconds, as a token has them
	switch {
	case errors.Is(err, token.ErrAudience):
		w.Reason, w.About = DenyAudience, bareURL(c.Audience)
		w.Sentence = fmt.Sprintf("The client showed a token that is for %s, and this server is %s: it must ask the "+
			"issuer for one with resource=%[2]s; if both mean this server, set its --resource right.",
			cmp.Or(w.About, "another server, or several"), g.config.Resource)
	case errors.Is(err, token.ErrExpired):
		w.Reason = DenyExpired
		w.Sentence = fmt.Sprintf("The client showed a token that had been over for %s: it must renew it as "+
			"expires_in says; if it was just issued, this server's clock is ahead of the issuer's, so set both by NTP.",
			apart(now, time.Unix(c.Expires, 0)))
	case errors.Is(err, token.ErrNotYet):
		w.Reason = DenyFuture
		w.Sentence = fmt.Sprintf("The client showed a token that by this server's clock begins only in %s: this "+
			"server's clock is behind the issuer's by as much, so set both by NTP (%s are forgiven).",
			apart(time.Unix(max(c.IssuedAt, c.NotBefore), 0), now), seconds(Leeway))
	case errors.Is(err, token.ErrIssuer):
		w.Reason = DenyIssuer
		w.Sentence = fmt.Sprintf("The client showed a token that names another issuer than %s: it must use the one "+
			"that the protected-resource metadata name, and --issuer must be the same at the issuer and here.",
			g.config.Issuer)
	case errors.Is(err, token.ErrUnknownKey):
		w.Reason = DenyKey
		w.Sentence = fmt.Sprintf("Somebody showed a token that is signed with a key that %s does not publish: it is "+
			"another issuer's, or its key was withdrawn, and the client must get a new one here.", g.config.Issuer)
	case errors.Is(err, token.ErrSignature):
		w.Reason = DenyKey
		w.Sentence = "Somebody showed a token whose signature is not right: it was changed, or is signed with an " +
			"algorithm that is not believed here, and the client must get a new one."
	case errors.Is(err, token.ErrType):
		w.Reason = DenyForm
		w.Sentence = "Somebody showed a token that is no access token: the client must show the access_token of its " +
			"answer, not the id_token or a client assertion."
	case errors.Is(err, token.ErrMalformed):
		w.Reason = DenyForm
		w.Sentence = "Somebody showed something that is no access token of an issuer like ours: the client must show " +
			"the access_token of its answer, not a refresh token, a key or a password."
	default:
		w.Reason = DenyClaims
		w.Sentence = "The client showed a token that lacks a claim or has a wrong one: the issuer and this server " +
			"are of versions that do not fit."
	}
	return w
}

// over says that a grant has ended.
func revokedGrant(c mcp.Caller) *Denial {
	return &Denial{Reason: DenyRevoked, Client: c.ClientID, Tenant: c.TenantID,
		Sentence: "The client showed a token whose permission has ended: `gatehouse grant list` says why, and the " +
			"person must let it in again."}
}

// unproved says why a token was refused whose proof does not do.
func invalidProof(err error, client, tenant string) *Denial {
	w := &Denial{Reason: DenyProof, Client: client, Tenant: tenant}
	var clock interface{ ClockOff() time.Duration }
	if errors.As(err, &clock) {
		w.Sentence = fmt.Sprintf("The client showed a DPoP proof that was made %s %s by this server's clock: set the "+
			"clock of the client's machine, or of this one, by NTP.",
			seconds(clock.ClockOff().Abs()),
			map[bool]string{true: "in the future", false: "in the past"}[clock.ClockOff() > 0])
		return w
	}
	w.Sentence = fmt.Sprintf("The client's token is bound to a key, or must be, and it was not shown with a DPoP "+
		"proof that does (%s): its makers must mend that.", strings.TrimSuffix(err.Error(), "."))
	return w
}

// elsewhere says why a request's Host or Origin is not answered.
func (g *Guard) wrongSource(r *http.Request) *Denial {
	for _, origin := range r.Header["Origin"] {
		if !g.origins[origin] {
			about := bareURL(origin)
			return &Denial{Reason: DenyOrigin, About: about, Sentence: fmt.Sprintf(
				"A web page of %s tried to call this server from a browser, and its origin is not allowed: if it "+
					"may, add it to --allowed-origins (allowed_origins in a gateway's file).",
				cmp.Or(about, "an origin that cannot be read"))}
		}
	}
	return &Denial{Reason: DenyHost, Sentence: "Somebody called this server by a Host that it does not answer to: if " +
		"that is a name of it, add it to --allowed-hosts (allowed_hosts in a gateway's file)."}
}

// lacking says which scopes a call would have needed.
func missingScopes(r *Record) *Denial {
	what := cmp.Or(r.NameLabel(), r.MethodLabel())
	return &Denial{Reason: DenyScope, About: what, Client: r.Caller.ClientID, Tenant: r.Caller.TenantID,
		Sentence: fmt.Sprintf(
			"The client called %s, for which its token lacks the scopes %s: it must ask its person for these, "+
				"and their "+
				"role must give them (`gatehouse explain` says what it does give).", what,
			strings.Join(r.Decision.Lacking, " "))}
}

// apart is how long lies between two moments, in whole seconds.
func apart(late, early time.Time) string { return seconds(late.Sub(early)) }

func seconds(d time.Duration) string { return fmt.Sprintf("%d seconds", int64(d/time.Second)) }

// maxAbout bounds what is kept of an address that somebody named, in bytes.
const maxAbout = 200

// bareURL is an address without what may hold a secret: who it is for, its query and its fragment.
// Empty when it cannot be read.
func bareURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Host == "" || len(raw) > maxAbout ||
		strings.ContainsFunc(u.Host, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}
