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

// maxDocumentURL bounds a client_id that is a URL, in bytes.
const maxDocumentURL = 1024

// IsDocumentURL reports whether a client_id is the URL of a metadata document. Ids that we create
// never are.
func IsDocumentURL(id string) bool { return strings.HasPrefix(id, "https://") }

// CheckDocumentURL returns what is wrong with the URL of a metadata document (Client ID Metadata
// Document §3): it must be https, with a plain host and a path without "." and "..", without
// userinfo and fragment. A URL with an error is never fetched.
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

// FromDocument returns the client that a metadata document describes, or an *oauth.Error that says
// what is wrong. An unsupported value is an error where ignoring it would surprise. The client has
// no tenant and no bound of scopes.
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
	// a document is written for every server, and cannot know the algorithms of this one
	d.IDTokenSignedResponseAlg = ""
	if err := c.setIdentity(d.ClientMetadata, nil); err != nil {
		return Client{}, wrong("cannot be used: " + description(err))
	}
	if err := c.setRedirects(d.ClientMetadata); err != nil {
		return Client{}, wrong("has redirect_uris that cannot be used: " + description(err))
	}
	return c, nil
}

// description returns an error's text without its code.
func description(err error) string {
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return refused.Description
	}
	return err.Error()
}

// authMethod returns the authentication method of a document's client, or "" when none is
// supported. The document is the same for every server and gets no response, so both sides must
// derive the same choice: the method that it names, or else the strongest that is possible.
func (d Description) authMethod() string {
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

// DocumentHost returns the host of the client's metadata document; empty for other clients.
func (c Client) DocumentHost() string {
	u, err := url.Parse(c.ID)
	if c.Origin != OriginDocument || err != nil {
		return ""
	}
	return u.Host
}
