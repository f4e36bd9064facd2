package attempt

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// Causes of rejections that are recorded but not told to the client.
var (
	ErrDisabled = errors.New("the client is disabled")
	ErrUnknown  = errors.New("the client is not known")
	ErrSignIn   = errors.New("the address and the password do not belong together")
	// ErrLocked says that sign-in is refused for a while, whatever the password, after too many
	// wrong ones.
	ErrLocked = errors.New("too many wrong passwords")
)

// clock is implemented by errors that know how far a client's clock is ahead of ours; negative
// means behind.
type clock interface{ ClockOff() time.Duration }

// isStranger reports whether a client was rejected because it is not registered.
func isStranger(err error) bool {
	var refused *oauth.Error
	return errors.Is(err, ErrUnknown) || errors.As(err, &refused) && refused.Code == "invalid_client" &&
		strings.HasPrefix(refused.Description, unknownHere)
}

// unknownHere begins the message to a person whose client is not registered.
const unknownHere = "this client is not known here"

// sentence explains a rejection to an operator: what was wrong, and what to do.
type sentence struct {
	step Step   // empty: any
	code string // the error code; empty: any
	says string // prefix of the error's description; empty: any
	text string // with {client}, {redirect}, {resource}, {source}, {description}

	// machine replaces text when the client acts for no person; empty: text is used for it too.
	machine string
}

// sentences are tried in order; the first that matches is used.
var sentences = []sentence{
	// Registration (RFC 7591 §3.2.2).
	{Registration, "invalid_token", "",
		"The client tried to register without a good initial access token, and here that needs one that is known, " +
			"not expired and not used up: `gatehouse initial-token create` makes another.", ""},
	{Registration, "invalid_redirect_uri", "",
		"The client tried to register a redirect URI that may not be registered ({description}): its makers must use " +
			"https, http on a loopback host, or a scheme of the application's own.", ""},
	{Registration, "temporarily_unavailable", "Too many",
		"The client was not registered, because too many registered from {source} in this hour: see " +
			"--registrations-per-hour.", ""},
	{Registration, "temporarily_unavailable", "No more clients can register here",
		"The client was not registered, because there are as many that registered themselves as --max-clients " +
			"allows, and each of them is in use: raise it, or delete some with `gatehouse client delete`.", ""},
	{Registration, "invalid_client_metadata", "",
		"The client described itself in a way that cannot be registered ({description}): its makers must mend that.",
		""},

	// Client and redirect URI: rejected on a page, never by redirect (RFC 6749 §4.1.2.1).
	{0, "invalid_client", unknownHere, saysUnknown, ""},
	{0, "invalid_client", "this application was disabled here", saysDisabled, ""},
	{0, "invalid_request", "redirect_uri is not one",
		"The application wanted its answer at {redirect}, which is none of the redirect URIs that its client has " +
			"registered: let it register again with that address, or set the address right in its configuration.", ""},
	{0, "invalid_request", "redirect_uri must be given",
		"The authorization request does not say exactly once where its answer goes: the application must send the " +
			"redirect_uri that it registered.", ""},
	{0, "invalid_request", "client_id must be given",
		"The authorization request does not say exactly once which client sends it: the application must register " +
			"first and send its client_id.", ""},
	{0, "invalid_request_uri", "", "The browser came too late with the request that the application had pushed, or a " +
		"second time: a pushed request is good once and for 90 seconds, so start again from the application.", ""},
	{0, "invalid_request", "this client has said that it pushes",
		"The client has registered require_pushed_authorization_requests and came without pushing its request: it " +
			"must push it first (RFC 9126), or be registered without that.", ""},

	// The authorization request (RFC 6749 §4.1.2.1, RFC 7636 §4.4.1, RFC 8707 §2).
	{0, "invalid_request", "PKCE is required",
		"The authorization request has no PKCE challenge of the kind that is needed here: the application must send " +
			"code_challenge with code_challenge_method=S256, so update it, or the OAuth library that it uses.", ""},
	{0, "invalid_target", "this resource is not served here",
		"The application asked for a token for {resource}, which this issuer does not serve: give the application " +
			"the MCP server's URL exactly as --resource or the file of --resources has it.", ""},
	{0, "invalid_target", "resource must be an absolute URI",
		"The application asked for a token for something that is no absolute URI without fragment: its resource " +
			"parameter must be the MCP server's URL (RFC 8707).", ""},
	{0, "invalid_target", "send no resource, or the one",
		"The client asked for a token for {resource}, which is not the server that the person authorize it to: " +
			"it must name the same resource as before, or ask the person again.",
		"The client asked for a token for {resource}, which is not the server that it may use: it must name that one."},
	{0, "invalid_scope", "", "The client asked for a scope that the server does not have, or that the client, the " +
		"tenant or the person's role may not have ({description}): ask for less, or allow more with `gatehouse " +
		"role put`.",
		"The client asked for a scope that the server does not have, or that the client or its tenant may not have " +
			"({description}): ask for less, or make another client with more scopes (`gatehouse client create " +
			"--scopes`)."},
	{0, "", "the organisation of this permission is suspended", saysSuspended, ""},
	{0, "unauthorized_client", "this client is not registered",
		"The client is not registered for the grant type that it used ({description}): it must register with it in " +
			"grant_types, or be made with it.", ""},
	{0, "unauthorized_client", "the permission of this client was revoked",
		"The permission of this machine client was revoked, and stays so: `gatehouse audit list` says by whom, and " +
			"`gatehouse client create` makes another client.", ""},
	{0, "unauthorized_client", "client_credentials is for clients",
		"The client asked for a token by client_credentials and belongs to no tenant: make it with `gatehouse client " +
			"create --tenant`, or let it register with an initial access token of one.", ""},
	{0, "unsupported_response_type", "",
		"The application asked for a response_type that is not offered: it must be code.", ""},
	{0, "login_required", "", "The application wanted no page to be shown (prompt=none), and nobody had signed in " +
		"here lately enough: it must ask without prompt=none.", ""},
	{0, "consent_required", "", "The application wanted no page to be shown (prompt=none), and the person has not " +
		"agreed to this before, or its client is not one that you made with a secret or a key: it must ask without " +
		"prompt=none.", ""},
	{0, "interaction_required", "",
		"The application wanted no page to be shown (prompt=none), and the person must choose between tenants: it " +
			"must ask without prompt=none.", ""},

	// Sign-in and consent.
	{Consent, "access_denied", "the person denied the request",
		"The person said no when they were asked, so nothing is wrong with the client: talk to them, and start again " +
			"from the application if they agree.", ""},
	{0, "invalid_request", "This request is no longer under way",
		"A page was opened whose request was not under way any more in that browser (answered already, older than " +
			"ten minutes, or its cookies are blocked): start again from the application, in one browser.", ""},
	{0, "invalid_request", "This form is out of date",
		"A form was sent that was not of a page of ours in that browser, or too old: start again from the " +
			"application, and look whether the browser's cookies are blocked.", ""},
	{0, "access_denied", "You belong to no organisation",
		"The person who signed in belongs to no tenant that could authorize this client: `gatehouse member " +
			"put` gives " +
			"them a place in one.", ""},
	{0, "expired_token", "", "No one answered in time for the code that the device showed, or the device brought one " +
		"that is not known: begin again at the device, and type its code within ten minutes.", ""},

	// The code (RFC 6749 §4.1.3, RFC 7636 §4.6).
	{0, "invalid_grant", "The authorization code has already been used",
		"The client brought its code a second time, which ended the permission that the first time had brought: it " +
			"must redeem a code once and begin a new authorization; if that was not the client itself, somebody has " +
			"read the code on its way.", ""},
	{0, "invalid_grant", "The PKCE code challenge did not match",
		"The client brought its code with a PKCE verifier that does not fit the challenge of the authorization " +
			"request: it mixed up two attempts, or somebody else brought the code.", ""},
	{0, "invalid_grant", "The PKCE code verifier must be at least",
		"The client brought its code without a PKCE verifier, or with one of less than 43 characters: it must send " +
			"the code_verifier whose challenge it had sent.", ""},
	{0, "invalid_grant", "The PKCE code verifier",
		"The client brought its code with a PKCE verifier that can be none: it must be 43 to 128 of the characters " +
			"that RFC 7636 allows, and be the one whose challenge it had sent.", ""},
	{0, "invalid_grant", "the code is unknown",
		"The client brought a code that is not known here, or that another client was given: it must bring the code " +
			"of its own latest authorization, to the issuer that gave it.", ""},
	{0, "invalid_grant", "the code has expired",
		"The client brought its code too late: it must redeem it at once, within --authorization-code-lifetime, so " +
			"look at its clock and its network, and start again.", ""},
	{0, "invalid_grant", "redirect_uri is missing",
		"The client brought its code without redirect_uri: it must send the one of the authorization request again.",
		""},
	{0, "invalid_grant", "The 'redirect_uri' from this request does not match",
		"The client brought its code with another redirect_uri ({redirect}) than that of its authorization request: " +
			"it must send the same one, byte for byte.", ""},
	{0, "invalid_request", "code is missing",
		"The client asked to redeem a code and sent none: look in its log whether the answer to its redirect URI was " +
			"an error.", ""},
	{0, "invalid_grant", "it was used by another request",
		"Two requests of the client brought the same code or refresh token at once, or its permission ended just " +
			"then: the client must take turns with itself, and go on with the answer of the other.", ""},
	{0, "invalid_grant", "it is bound to a key",
		"The client brought a code or refresh token without a DPoP proof of the key that it is bound to: it must " +
			"prove the key that it began with, or begin again.", ""},

	// The refresh token (RFC 6749 §6, RFC 9700 §4.14.2).
	{0, "invalid_grant", "The refresh token was already used",
		"The client brought a refresh token that it had used before and that is replaced, which ended its " +
			"permission: it must keep the newest in one place only, and the person must authorize it again; if " +
			"that was not the client itself, the token was stolen.", ""},
	{0, "invalid_grant", "the refresh token is unknown",
		"The client brought a refresh token that is not known here, or that another client was given: the person " +
			"must authorize it again.", ""},
	{0, "invalid_grant", "the refresh token has expired",
		"The client brought a refresh token that has expired, because it was not used for " +
			"--refresh-token-idle-timeout or its " +
			"permission has lasted --refresh-token-lifetime: the person must authorize it again.", ""},
	{0, "invalid_grant", "this permission has been revoked",
		"The permission that the client wanted to go on with has ended: `gatehouse grant list` says why, and the " +
			"person can authorize it again.",
		"The access of the token that the client brought was revoked: `gatehouse grant list` says why."},
	{0, "invalid_grant", "the tenant of this permission is gone",
		"The tenant for which the client acted is not there any more: the person must authorize it for another.",
		"The tenant that the client belongs to is not there any more: make the client for another with `gatehouse " +
			"client create --tenant`."},
	{0, "invalid_grant", "the person who gave this permission",
		"The person who authorized the client does not belong to the tenant any more: `gatehouse member put` " +
			"gives them their place again, or somebody else must authorize it.",
		"The person for whom the client acts does not belong to the tenant any more: `gatehouse member put` gives " +
			"them their place again."},
	{0, "invalid_grant", "none of this permission's scopes is allowed any more",
		"Nothing that the person had allowed is within what their role and their tenant may have today: widen these " +
			"with `gatehouse role put`, or let the person be asked again.",
		"Nothing that the client may have is within what its tenant may have today: widen that with `gatehouse " +
			"policy set`."},
	{0, "invalid_grant", "the resource of this permission",
		"The server that the permission is for is not served here any more: put it back in the file of --resources, " +
			"or let the person be asked for another.",
		"The server that the client asks for is not served here any more: put it back in the file of --resources, or " +
			"let the client ask for another."},

	// Client authentication (RFC 6749 §2.3) and proof of possession (RFC 9449 §4.3).
	{0, "invalid_client", "client authentication did not succeed",
		"The client did not authenticate: its secret or its assertion is missing, wrong, or not of the kind that " +
			"it registered, so give it the right one (`gatehouse client replace-secret` makes another), or let it " +
			"register again.", ""},
	{0, "invalid_dpop_proof", "this client registered",
		"The client has registered dpop_bound_access_tokens and came without a DPoP proof: it must send one, or be " +
			"registered without that.", ""},
	{0, "invalid_dpop_proof", "", "The client's DPoP proof does not hold ({description}): its makers must mend that; " +
		"behind a proxy, --issuer must be the URL that the client sees.", ""},
	{0, "unsupported_grant_type", "",
		"The client asked with a grant_type that is not offered ({description}): it must use one of those in the " +
			"metadata.", ""},
	{0, "temporarily_unavailable", "this server has no way out",
		"The client is known by a document on the internet, and this server has no way out to read it: give it a " +
			"route and a name server, or refuse such clients with --client-metadata-documents=false.", ""},
	{0, "temporarily_unavailable", "Too many",
		"Too many requests came from {source}: the client must wait as Retry-After says, and if it sits behind a " +
			"proxy that is yours, name that in --trusted-proxies.", ""},
}

// The texts for errors that are recognized by what they wrap.
const (
	saysUnknown = "The client is not known here, or not any more (its registration was deleted, has expired, or " +
		"was made at another issuer): remove the connection in the application and connect again, so that it " +
		"registers again."
	saysSuspended = "The tenant is suspended, or the client disabled: `gatehouse tenant resume`, or `gatehouse " +
		"client enable`, brings back what it had."
	saysDisabled = "The client is disabled: `gatehouse client enable`, with its ID, lets it act again."
	saysSignIn   = "Somebody tried to sign in for this client with an e-mail address and a password that do not " +
		"belong together: if they forgot it, make them another account, and look at the log for who tries."
	saysLocked = "Sign-in was locked for a while, because too many wrong passwords came for this account, or from " +
		"{source}: the person waits as long as the page says, or signs in with a browser or at an address that they " +
		"signed in with before; look at the log for who tries."
	saysOurs  = "Something of ours did not answer, or broke: the log line with the support code says what."
	saysClock = "The client proved itself with something that was made {off} by our clock: set the clock of the " +
		"client's machine, or of this one, by NTP."
	saysElse = "It was refused here as {code}: {description}"
)

// ForgotResource explains that a token is for another server than the one it was sent to, because
// its client sent no resource parameter.
func ForgotResource(audience, server string) string {
	return "The client asked the issuer without naming a resource, so that its token is for " + clean(audience) +
		" and not for " + clean(server) +
		", to which it showed it: it must send resource=" + clean(server) +
		" with its authorization and token requests (RFC 8707)."
}

// left explains why an attempt was abandoned, as far as that can be known.
var left = map[Step]string{
	Discovery: "Somebody read the metadata and asked for nothing: that is no client, or it could not go on with " +
		"what they say.",
	Registration: "The client registered, and never opened a browser: its person gave up, or it cannot open one, so " +
		"look in its log.",
	Authorize: "The browser was sent on to our pages and did not come there: its cookies are blocked, or somebody " +
		"closed it.",
	SignIn: "Nobody signed in: the person closed the page, or has no account here.",
	Consent: "The person was asked and pressed neither button: they closed the page, or their role gives " +
		"nothing of what was asked for.",
	Redirect: "The code was sent back to the application, which never brought it: it is not reached at its " +
		"redirect URI any more, or refused the answer, so look in its log.",
}

// explain returns a sentence that says why the request was rejected, and the kind of the reason.
func (w *Trace) explain() (text, kind string) {
	var refused *oauth.Error
	isRefusal := errors.As(w.err, &refused)
	var c clock
	switch {
	case errors.Is(w.err, ErrUnknown):
		return saysUnknown, "unknown"
	case errors.Is(w.err, ErrDisabled):
		return saysDisabled, "disabled"
	case errors.Is(w.err, ErrSignIn):
		return saysSignIn, "sign-in"
	case errors.Is(w.err, ErrLocked):
		return strings.Replace(saysLocked, "{source}", w.source, 1), "locked"
	case errors.As(w.err, &c):
		return strings.Replace(saysClock, "{off}", far(c.ClockOff()), 1), "clock"
	case !isRefusal:
		return saysOurs, "ours"
	}
	for _, s := range sentences {
		if (s.step == 0 || s.step == w.step) && (s.code == "" || s.code == refused.Code) &&
			strings.HasPrefix(refused.Description, s.says) {
			text := s.text
			if w.machine && s.machine != "" {
				text = s.machine
			}
			return w.fill(text, refused), s.code + " " + s.says
		}
	}
	text = strings.TrimSuffix(w.fill(saysElse, refused), ".") + "."
	return text, refused.Code
}

// fill replaces the placeholders of a text.
func (w *Trace) fill(text string, e *oauth.Error) string {
	or := func(s string) string {
		if s == "" {
			return "an address that cannot be shown"
		}
		return s
	}
	return strings.NewReplacer(
		"{redirect}", or(w.redirect), "{resource}", or(w.resource), "{source}", w.source, "{code}", e.Code,
		"{description}", strings.TrimSuffix(clean(e.Description), "."),
	).Replace(text)
}

// far describes how far a clock is off.
func far(d time.Duration) string {
	seconds := int64(d.Abs() / time.Second)
	if d < 0 {
		return strconv.FormatInt(seconds, 10) + " seconds in the past"
	}
	return strconv.FormatInt(seconds, 10) + " seconds in the future"
}

// maxText bounds text from clients, in bytes.
const maxText = 300

var (
	secrets = regexp.MustCompile(`\b(gh[a-z]_|eyJ)[A-Za-z0-9_.\-]+`)
	queries = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.\-]*:[^\s?#'"]*)[?#][^\s'"]*`)
)

// clean returns text from a client as it may be stored and shown: one line, short, with nothing
// that looks like one of our secrets or a JWT, and URLs without their queries.
func clean(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	s = text.Line(s, 0)
	return queries.ReplaceAllString(secrets.ReplaceAllString(s, "…"), "$1")
}

// bareURL returns a URL without userinfo, query and fragment, or "" when it cannot be parsed.
func bareURL(raw string) string {
	if len(raw) > maxText {
		return ""
	}
	return clean(text.URL(raw, 0))
}
