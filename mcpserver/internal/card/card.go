// Package card serves the public documents of a resource: protected resource metadata (RFC 9728),
// the server card and the AI catalog.
package card

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Scope is a scope with its description.
type Scope struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Baseline    bool   `json:"-"`
}

// Facts are the content of the documents.
type Facts struct {
	Resource    string // canonical URI, which is the URL of the MCP endpoint
	Issuer      string
	Name        string // a reverse-DNS namespace, a slash and a name
	Title       string // for people
	Version     string
	Description string // 1 to 100 characters
	Scopes      []Scope
	Protocols   []string // MCP revisions, newest first
	CanRegister bool     // registration at the issuer is open
	RequireDPoP bool     // tokens must be bound to a key (RFC 9449)
}

// cardSchema is the only value that version 1 of the card allows.
const cardSchema = "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json"

type remote struct {
	Type      string   `json:"type"`
	URL       string   `json:"url"`
	Protocols []string `json:"supportedProtocolVersions,omitempty"`
}

// serverCard is a server card (SEP-2127), version 1. It has no authorization data: clients find it
// by RFC 9728.
type serverCard struct {
	Schema      string   `json:"$schema"`
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Description string   `json:"description"`
	Title       string   `json:"title,omitempty"`
	Remotes     []remote `json:"remotes"`
}

type catalogEntry struct {
	Identifier string `json:"identifier"`
	Type       string `json:"type"`
	URL        string `json:"url"`
}

type catalog struct {
	SpecVersion string         `json:"specVersion"`
	Entries     []catalogEntry `json:"entries"`
}

// olderCard is the informal form that some scanners still look for.
type olderCard struct {
	Name          string        `json:"name"`
	Version       string        `json:"version"`
	Description   string        `json:"description"`
	Authorization authorization `json:"authorization"`
	Transport     transport     `json:"transport"`
}

type authorization struct {
	Server       string   `json:"authorization_server"`
	Flows        []string `json:"supported_flows"`
	Registration bool     `json:"dynamic_client_registration"`
	Scopes       []Scope  `json:"scopes"`
}

type transport struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// CardType and CatalogType are the media types of the documents.
const (
	CardType    = "application/mcp-server-card+json"
	CatalogType = "application/ai-catalog+json"
)

// Routes returns the documents by path, of one resource or of several on the same host. They need
// no token and are readable from any origin. Documents of the whole host exist only if it has one
// resource; the catalog names all of them.
func Routes(all ...Facts) (map[string]http.Handler, error) {
	routes := map[string]http.Handler{}
	entries := []catalogEntry{}
	for _, f := range all {
		described, entry, err := f.documents(len(all) == 1)
		if err != nil {
			return nil, fmt.Errorf("describing %s: %w", f.Resource, err)
		}
		for _, d := range described {
			if err := d.into(routes); err != nil {
				return nil, err
			}
		}
		entries = append(entries, entry)
	}
	return routes, described{"/.well-known/ai-catalog.json", CatalogType, catalog{"1.0", entries}}.into(routes)
}

// described is a document and its path.
type described struct {
	path, mediaType string
	body            any
}

func (d described) into(routes map[string]http.Handler) error {
	body, err := json.Marshal(d.body)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", d.path, err)
	}
	routes[d.path] = document(body, d.mediaType)
	return nil
}

// documents returns the documents of one resource and its entry in the catalog. alone says that it
// is the only one on its host.
func (f Facts) documents(alone bool) ([]described, catalogEntry, error) {
	u, err := url.Parse(f.Resource)
	if err != nil {
		return nil, catalogEntry{}, err
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	inserted, err := url.Parse(oauth.ResourceMetadataURL(f.Resource))
	if err != nil {
		return nil, catalogEntry{}, err
	}
	_, short, _ := strings.Cut(f.Name, "/")
	metadata := oauth.ResourceMetadata{
		Resource: f.Resource, AuthorizationServers: []string{f.Issuer}, ScopesSupported: f.baseline(),
		BearerMethodsSupported: []string{"header"}, ResourceName: f.Title,
		DPoPSigningAlgValuesSupported: dpop.Algorithms(), DPoPBoundAccessTokensRequired: f.RequireDPoP,
	}
	documents := []described{
		{inserted.EscapedPath(), "application/json", metadata},
		{path + "/server-card", CardType, serverCard{
			Schema: cardSchema, Name: f.Name, Version: f.Version, Description: f.Description, Title: f.Title,
			Remotes: []remote{{"streamable-http", f.Resource, f.Protocols}},
		}},
	}
	if alone {
		documents = append(documents, described{oauth.ResourceMetadataPath, "application/json", metadata},
			described{"/.well-known/mcp-server-card.json", "application/json", olderCard{
				Name: f.Title, Version: f.Version, Description: f.Description,
				Authorization: authorization{f.Issuer, []string{"authorization_code", "client_credentials"},
					f.CanRegister, f.Scopes},
				Transport: transport{"streamable-http", f.Resource},
			}})
	}
	return documents, catalogEntry{
		"urn:air:" + u.Hostname() + ":mcp:" + short, CardType, strings.TrimSuffix(f.Resource, "/") + "/server-card",
	}, nil
}

// baseline returns the scopes that a client requests first.
func (f Facts) baseline() []string {
	var names []string
	for _, s := range f.Scopes {
		if s.Baseline {
			names = append(names, s.Name)
		}
	}
	return names
}

// document serves a document with an ETag, from any origin.
func document(body []byte, mediaType string) http.Handler {
	sum := sha256.Sum256(body)
	etag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "GET")
		h.Set("Access-Control-Allow-Headers", "Content-Type, If-None-Match, MCP-Protocol-Version")
		h.Set("Access-Control-Expose-Headers", "ETag")
		switch r.Method {
		case http.MethodOptions:
			w.WriteHeader(http.StatusNoContent)
			return
		case http.MethodGet, http.MethodHead:
		default:
			h.Set("Allow", "GET, HEAD, OPTIONS")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("ETag", etag)
		if known(r.Header.Values("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", mediaType)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method == http.MethodGet {
			w.Write(body)
		}
	})
}

// known reports whether the client has the document already (RFC 9110 section 13.1.2); a proxy that
// compressed it has made its ETag weak.
func known(shown []string, etag string) bool {
	for tag := range strings.SplitSeq(strings.Join(shown, ","), ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
