package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Shared reports whether all who register the same metadata share this client. No one may update or
// delete it, because others use it too.
func (c Client) Shared() bool { return c.Fingerprint != "" }

// share sets the fingerprint of a client that registers openly, when clients with the same metadata
// can be one: it names its software, and has no secret or key of its own. Such software registers
// again at every connection.
func (c *Client) share() error {
	if c.SoftwareID == "" || c.AuthMethod != AuthNone || c.Origin != OriginRegistration {
		return nil
	}
	// Everything that is stored counts, fields added later included.
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

// sorted returns a list as a set: ordered, without duplicates.
func sorted(of []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(of)))
}
