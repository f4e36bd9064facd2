package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Shared says whether this is the one client of all who register the same. It is nobody's to
// manage: whoever came first could otherwise change or delete what the others use.
func (c Client) Shared() bool { return c.Fingerprint != "" }

// share gives a client that registers openly its fingerprint, when others who register the same may
// have the same client: it says what software it is an installation of, and has neither a secret
// nor a key that tells one installation from another. Clients of such software register anew at
// every connection.
func (c *Client) share() error {
	if c.SoftwareID == "" || c.AuthMethod != AuthNone || c.Origin != OriginRegistration {
		return nil
	}
	// All that is kept counts, what will be kept one day too; only what was never said is left out.
	said := *c
	said.ID, said.CreatedAt = "", time.Time{}
	said.RedirectURIs, said.GrantTypes = sorted(c.RedirectURIs), sorted(c.GrantTypes)
	said.PostLogoutRedirectURIs = sorted(c.PostLogoutRedirectURIs)
	text, err := json.Marshal(said)
	if err != nil {
		return fmt.Errorf("taking a client's fingerprint: %w", err)
	}
	sum := sha256.Sum256(text)
	c.Fingerprint = hex.EncodeToString(sum[:])
	return nil
}

// sorted is a list as a set: in order, each once.
func sorted(of []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(of)))
}
