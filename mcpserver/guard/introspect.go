package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Introspection introspects tokens at the issuer (RFC 7662), as the client of the protected server.
type Introspection struct {
	URL          string // of the introspection endpoint
	ClientID     string
	ClientSecret config.Secret
}

const (
	introspectTimeout       = 2 * time.Second // timeout of a request
	maxIntrospections       = 32              // in flight: introspection comes before the limits of callers
	maxTenantIntrospections = 8               // of them for one tenant
)

// maxIntrospection is the size limit of the response, in bytes.
const maxIntrospection = 64 << 10

// active reports whether the issuer says that a token with a valid signature is active. A response
// about another grant is an error.
func (i *Introspection) active(ctx context.Context, client *http.Client, raw, grantID string) (bool, error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, i.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return false, fmt.Errorf("introspection: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret.Reveal())) // RFC 6749 section 2.3.1
	answer, err := client.Do(r)
	if err != nil {
		return false, fmt.Errorf("introspection: %w", err)
	}
	defer answer.Body.Close()
	var said struct {
		Active  *bool  `json:"active"`
		GrantID string `json:"grant_id"`
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxIntrospection))
	switch {
	case err != nil:
		return false, fmt.Errorf("introspection: %w", err)
	case answer.StatusCode != http.StatusOK:
		return false, fmt.Errorf("introspection: the issuer answered %s", answer.Status)
	case strictjson.Unmarshal(body, &said) != nil || said.Active == nil || *said.Active && said.GrantID != grantID:
		return false, errors.New("introspection: invalid response")
	}
	return *said.Active, nil
}
