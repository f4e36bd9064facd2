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

// Introspection asks the issuer what a token is worth (RFC 7662), as a client that is the protected
// server.
type Introspection struct {
	URL          string // the issuer's introspection endpoint
	ClientID     string
	ClientSecret config.Secret
}

const (
	introspectTime     = 2 * time.Second // bounds one question
	mostIntrospections = 32              // are under way at once: it comes before any limit of the caller's
	mostOfOne          = 8               // of them about tokens of one tenant
)

// maxIntrospection bounds an answer, in bytes.
const maxIntrospection = 64 << 10

// active says, before ctx ends, whether a token whose signature is right still hangs from a living
// grant. Whatever the issuer says beside is held against what the token says: an answer about
// another grant is no answer.
func (i *Introspection) active(ctx context.Context, client *http.Client, raw, grantID string) (bool, error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, i.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return false, fmt.Errorf("asking about a token: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret.Reveal())) // RFC 6749 §2.3.1
	answer, err := client.Do(r)
	if err != nil {
		return false, fmt.Errorf("asking about a token: %w", err)
	}
	defer answer.Body.Close()
	var said struct {
		Active  *bool  `json:"active"`
		GrantID string `json:"grant_id"`
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxIntrospection))
	switch {
	case err != nil:
		return false, fmt.Errorf("asking about a token: %w", err)
	case answer.StatusCode != http.StatusOK:
		return false, fmt.Errorf("asking about a token: the issuer answered %s", answer.Status)
	case strictjson.Unmarshal(body, &said) != nil || said.Active == nil || *said.Active && said.GrantID != grantID:
		return false, errors.New("asking about a token: the issuer's answer is none")
	}
	return *said.Active, nil
}
