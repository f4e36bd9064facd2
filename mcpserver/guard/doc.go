// Package guard protects an MCP server with OAuth access tokens: it authenticates each request, and
// authorizes each message by scopes.
//
// Everything is checked on every request; nothing is inherited from a connection or an earlier
// request. If something cannot be checked (the issuer's keys or the list of revocations is not
// available), the answer is 503.
//
// # Protecting a handler
//
// A guard protects any http.Handler that speaks MCP over Streamable HTTP. From the least to the
// most:
//
//   - [Guard.Protect] calls a function with the caller of an authenticated request.
//   - [Guard.Wrap] does the same for an http.Handler, which gets its caller from [CallerOf].
//   - [Guard.Enforce] also authorizes each message by [Rules], which say which scopes a tool,
//     prompt, resource or method needs. It filters lists to what the caller may use, and binds the
//     sessions of older clients to the grant that opened them.
//
// The handler must not be reachable without the guard, and must serve the data of the caller's
// tenant alone. It needs to know nothing of tokens: behind Enforce it does not see them, unless
// Policy.PassToken is set. Behind Protect and Wrap the request is unchanged; never send its token
// to another server.
//
// # The caller
//
// [mcp.Caller] is the content of a verified token: subject, tenant, client, grant and scopes. Take
// the tenant from there alone, never from the arguments of a tool.
//
// # Rules
//
// The first rule that matches a name decides; what no rule names is denied. If the token lacks a
// scope, the answer is a challenge that names all scopes that the call needs, so that the client
// can ask the user for them; with [Rule.Hidden] it is that there is no such tool. [Rules].Implies
// says which scopes include others.
//
// # Gradual enforcement
//
// A [Rollout] enforces rules in steps on a server in production. In the mode [Observe] every
// request is allowed and the decision is passed to [Policy].Record; [EnforceWrites] enforces the
// rules of what writes. The zero Policy enforces all rules. No mode accepts an invalid token: such
// a request is anonymous at most, and only with Policy.AllowAnonymous.
//
// # Not part of the guard
//
// The server publishes its protected resource metadata (RFC 9728) itself, at
// oauth.ResourceMetadataURL(resource). Timeouts are those of the http.Server.
package guard
