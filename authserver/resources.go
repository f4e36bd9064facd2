package authserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// resourceFile is a resource in the file, with the field names of Resource.
type resourceFile struct {
	URI                 string `json:"uri"`
	Name                string `json:"name"`
	Algorithm           string `json:"algorithm"`             // default ES256
	AccessTokenLifetime string `json:"access_token_lifetime"` // as "10m"; default Config.AccessTokenLifetime
	// Aliases are what clients send in place of uri, for example its origin or api://example; a URL
	// is normalized like uri. Each use is logged as relaxed.
	Aliases []string `json:"aliases"`
	Scopes  []struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Baseline    bool   `json:"baseline"`
		Access      string `json:"access"` // read or write; default: derived from the name
	} `json:"scopes"`
}

// ReadResources reads resources from a JSON file: an array, the default one first. An unknown
// member is an error, because a misspelt one would silently have no effect.
func ReadResources(path string) ([]Resource, error) {
	if path == "" {
		return nil, errors.New("resources is not set; name a JSON file of the MCP servers whose tokens are issued")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading resources: %w", err)
	}
	var files []resourceFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&files); err != nil {
		return nil, fmt.Errorf("reading resources from %s: %w", path, err)
	}
	resources := make([]Resource, 0, len(files))
	for _, f := range files {
		r := Resource{URI: f.URI, Name: f.Name, Algorithm: f.Algorithm, Aliases: f.Aliases}
		if f.AccessTokenLifetime != "" {
			if r.AccessTokenLifetime, err = time.ParseDuration(f.AccessTokenLifetime); err != nil {
				return nil, fmt.Errorf("reading resources from %s: access_token_lifetime of %s: %w", path, f.URI, err)
			}
		}
		for _, s := range f.Scopes {
			r.Scopes = append(r.Scopes, Scope{Name: s.Name, Description: s.Description, Baseline: s.Baseline,
				Access: s.Access})
		}
		resources = append(resources, r)
	}
	return resources, nil
}
