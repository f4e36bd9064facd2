package client

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// maxDocumentURL bounds a client id that is a URL, in bytes.
const maxDocumentURL = 1024

// IsDocumentURL says whether a client id names a document. Ids that we make never do.
func IsDocumentURL(id string) bool { return strings.HasPrefix(id, "https://") }

// CheckDocumentURL says what is wrong with a client id that names a document, if anything (CIMD
// §3): https, a plainly written host, a path without "." and "..", no userinfo, no fragment.
// Nothing is fetched for one that is not right.
func CheckDocumentURL(id string) error {
	if len(id) > maxDocumentURL {
		return fmt.Errorf("it is longer than %d bytes", maxDocumentURL)
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>\^`+"`{|}", c) >= 0 {
			return errors.New("it holds a character that a URL has not")
		}
	}
	u, err := url.Parse(id)
	authority, _, _ := strings.Cut(strings.TrimPrefix(id, "https://"), "/")
	switch {
	case err != nil || !IsDocumentURL(id):
		return errors.New("it is not an https URL")
	case u.User != nil || strings.Contains(id, "#"):
		return errors.New("it has a user part or a fragment")
	case !plainHost.MatchString(authority) || u.Hostname() == "":
		return errors.New("its host is not written plainly")
	case u.Path == "" || u.Path == "/":
		return errors.New("it has no path")
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return errors.New("its path goes up or stays")
		}
	}
	return nil
}

// FromDocument makes the client that a document describes, or says with an *oauth.Error what is
// wrong with the document. What is not offered here is refused where dropping it would surprise. A
// document has no tenant and no ceiling of scopes.
func FromDocument(id string, body []byte, now time.Time) (Client, error) {
	wrong := func(what string) error {
		return oauth.InvalidClientMetadata("the document at the client_id " + what +
			"; tell the makers of the application")
	}
	d, err := readSaid(body, true)
	if err != nil {
		return Client{}, wrong("cannot be used: " + description(err))
	}
	d.ClientName = text.Line(d.ClientName, MaxName)
	method := d.authMethod()
	switch {
	case d.ClientID != id:
		return Client{}, wrong("names another client_id than its own address")
	case d.ClientName == "" || len(d.RedirectURIs) == 0:
		return Client{}, wrong("lacks client_name or redirect_uris")
	case d.Secret:
		return Client{}, wrong("holds a secret, which everybody can read there")
	case method == "":
		return Client{},
			wrong("asks for a token_endpoint_auth_method that is not offered for documents; use none or " +
				"private_key_jwt")
	case len(d.GrantTypes) > 0 && !slices.Contains(d.GrantTypes, GrantCode):
		return Client{}, wrong("does not ask for the grant type authorization_code")
	case len(d.ResponseTypes) > 0 && !slices.Contains(d.ResponseTypes, "code"):
		return Client{}, wrong("does not ask for the response type code")
	}
	c := Client{
		ID: id, Name: d.ClientName, Origin: OriginDocument, AuthMethod: method,
		GrantTypes: []string{GrantCode, GrantRefresh}, CreatedAt: now.UTC().Truncate(time.Second),
		SoftwareID: text.Line(d.SoftwareID, MaxName), SoftwareVersion: text.Line(d.SoftwareVersion, MaxName),
		DPoPBound: d.DPoPBoundAccessTokens, PushRequired: d.RequirePushedRequests,
	}
	if method == AuthKey {
		if slices.Contains(d.GrantTypes, GrantAssertion) {
			c.GrantTypes = append(c.GrantTypes, GrantAssertion)
		}
		if err := c.setKeys(d.ClientMetadata); err != nil {
			return Client{}, wrong("has keys that cannot be used: " + description(err))
		}
	}
	d.IDTokenSignedResponseAlg = "" // a document is read as a request: which algorithms there are, it cannot know
	if err := c.setIdentity(d.ClientMetadata, nil); err != nil {
		return Client{}, wrong("cannot be used: " + description(err))
	}
	if err := c.setRedirects(d.ClientMetadata); err != nil {
		return Client{}, wrong("has redirect_uris that cannot be used: " + description(err))
	}
	return c, nil
}

// description is what an error says to people, without its code.
func description(err error) string {
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return refused.Description
	}
	return err.Error()
}

// authMethod is how the client of a document proves itself, or empty when it could do nothing that
// is offered for documents. The document says the same to every server and gets no answer, so a
// choice that it leaves is one that both sides must make alike: the method that it names, else the
// strongest that it can.
func (d Said) authMethod() string {
	named, can := d.TokenEndpointAuthMethod, d.TokenEndpointAuthMethodsSupported
	switch {
	case named == AuthNone || named == AuthKey:
		return named
	case slices.Contains(can, AuthKey) && (len(d.JWKS) > 0 || d.JWKSURI != ""):
		return AuthKey
	case slices.Contains(can, AuthNone) || named == "" && len(can) == 0:
		return AuthNone
	}
	return ""
}

// DocumentHost is the host that vouches for a client by its document; empty for other clients.
func (c Client) DocumentHost() string {
	u, err := url.Parse(c.ID)
	if c.Origin != OriginDocument || err != nil {
		return ""
	}
	return u.Host
}
