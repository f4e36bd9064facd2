package authserver

import (
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/oauthapi"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// steps are the routes of an attempt to connect, and the step that each reaches.
var steps = map[string]attempt.Step{
	oauthapi.MetadataPath: attempt.Discovery, oauthapi.DiscoveryPath: attempt.Discovery,
	oauthapi.RegisterPath:  attempt.Registration,
	oauthapi.AuthorizePath: attempt.Authorize, oauthapi.PushPath: attempt.Authorize,
	oauthapi.DevicePath: attempt.Authorize,
	"/signin":           attempt.SignIn, "/consent": attempt.Consent, oauthapi.TokenPath: attempt.Token,
}

// follow records what a request contributes to a client's attempt to connect.
func (s *Server) follow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		step, on := steps[r.URL.Path]
		if !on || r.Method == http.MethodOptions || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		ctx, way := attempt.Start(r.Context(), attempt.Request{
			Step: step, Source: httpd.Source(r.Context()), Program: program(r), Support: httpd.SupportCode(r.Context()),
		})
		defer s.backends.connections.Record(way)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// mostProgram bounds what is kept of a User-Agent, in bytes.
const mostProgram = 40

// program returns the first product token of a program's User-Agent (RFC 9110 §10.1.5), and "" for
// a browser, which says nothing of the client.
func program(r *http.Request) string {
	product, _, _ := strings.Cut(r.UserAgent(), " ")
	product, _, _ = strings.Cut(product, "/")
	if product == "Mozilla" || len(product) > mostProgram {
		return ""
	}
	return product
}
