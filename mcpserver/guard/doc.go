// Package guard owns the check of a request's access token: it becomes a Caller, or a challenge.
//
// Everything is checked on every request; nothing is inherited from a connection or an earlier
// call. What cannot be known (the issuer's keys, the list of ended grants) is answered 503, never
// with a yes.
//
// # In front of your own handler
//
// A guard stands in front of any http.Handler that speaks MCP over Streamable HTTP, of whatever
// library. There are three ways in, from the least to the most:
//
//   - [Guard.Protect] lets requests of known callers through, and hands the caller on as an argument.
//   - [Guard.Wrap] is the same for a handler that takes no further argument: it finds its caller with [CallerOf].
//   - [Guard.Enforce] reads each message, too, and holds it against [Rules]: which scopes open which tool, prompt, resource or method. Lists are cut down to
//     what is open, and sessions of older clients belong to the grant that opened them.
//
// The handler behind must not be reachable in another way, and must act for the caller's tenant and
// no other: the guard says who calls, and the data are the handler's. It need know nothing of
// tokens. Behind Enforce it does not even see them, unless Policy.PassToken says so; behind Protect
// and Wrap the request is as it came, and its token is nobody else's: a handler that calls further
// servers gets tokens of their own for them.
//
// # Who calls
//
// [mcp.Caller] is what a token says once it is believed: the subject, its tenant, its client, the
// grant that it hangs from, and the scopes. Take the tenant from there alone. An argument of a tool
// that names a tenant is somebody's wish.
//
// # Which rule
//
// The first rule that fits a name decides; what no rule speaks of is open to nobody. Who lacks a
// scope of a tool gets a challenge that names all that the call needs, from which clients take up
// their person's permission again; where [Rule.Hide] is set, the answer is that there is no such
// tool. A scope counts for others as [Rules].Implies says.
//
// # Step by step
//
// A server in production is hardened without an outage by a [Rollout]: in [Observe] every request
// passes and the decision that would have been made is told to [Policy].Record; [EnforceWrites]
// begins with what changes something. The zero Policy enforces. No mode believes a bad token: at
// most such a request passes as nobody, where Policy.AllowAnonymous says so.
//
// # What stays outside
//
// The documents by which clients find the issuer (RFC 9728) are the server's to publish: a
// challenge names them at oauth.ResourceMetadataURL(resource). Timeouts and the size of what is no
// message are the http.Server's; Policy.MaxBody bounds a message.
package guard
