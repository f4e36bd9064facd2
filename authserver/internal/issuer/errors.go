package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ory/fosite"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// fromFosite turns fosite's verdict into ours: the code it chose and its hint for the client's
// author, or an inner error when something of ours broke. Losing a race for a code or token is the
// client's error, not the server's (fosite.md 2.2).
func fromFosite(err error) error {
	if errors.Is(err, ErrSpent) {
		return oauth.InvalidGrant("it was used by another request, or its permission has ended; go on with what that " +
			"request got, or ask the person again")
	}
	var ours *oauth.Error
	if errors.As(err, &ours) {
		return ours
	}
	var f *fosite.RFC6749Error
	if !errors.As(err, &f) || f.CodeField >= http.StatusInternalServerError || f.ErrorField == "error" {
		return fmt.Errorf("deciding: %w", detailed(err, f))
	}
	description := f.HintField
	if description == "" {
		description = f.DescriptionField
	}
	out := &oauth.Error{Code: f.ErrorField, Description: plain(description), Status: http.StatusBadRequest}
	if out.Code == "invalid_grant" {
		out.Description += " Begin a new authorization."
	}
	if out.Code == "invalid_client" {
		out.Status = http.StatusUnauthorized
	}
	return out
}

// detailed adds for the log what fosite keeps apart.
func detailed(err error, f *fosite.RFC6749Error) error {
	if f == nil {
		return err
	}
	if cause := f.Unwrap(); cause != nil {
		return fmt.Errorf("%s: %w", f.ErrorField, cause)
	}
	return fmt.Errorf("%w: %s %s", err, f.HintField, f.DebugField)
}

// plain keeps to the characters that an error_description may have (RFC 6749 §5.2).
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '`':
			return '\''
		case r < 0x20 || r > 0x7e || r == '\\':
			return ' '
		}
		return r
	}, s)
}
