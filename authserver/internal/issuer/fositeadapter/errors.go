package fositeadapter

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/ory/fosite"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// verdict turns fosite's error into an *oauth.Error with its code and its hint for the client's
// developer, or, when fosite itself failed, into an internal error.
func verdict(err error) error {
	var f *fosite.RFC6749Error
	if !errors.As(err, &f) || f.CodeField >= http.StatusInternalServerError || f.ErrorField == "error" {
		return fmt.Errorf("ask fosite: %w", detailed(err, f))
	}
	description := f.HintField
	if description == "" {
		description = f.DescriptionField
	}
	out := &oauth.Error{Code: f.ErrorField, Description: oauth.Description(description), Status: http.StatusBadRequest}
	if out.Code == "invalid_grant" {
		out.Description += " Begin a new authorization."
	}
	if out.Code == "invalid_client" {
		out.Status = http.StatusUnauthorized
	}
	return out
}

// detailed adds, for the log, what fosite keeps apart from its error text.
func detailed(err error, f *fosite.RFC6749Error) error {
	if f == nil {
		return err
	}
	if cause := f.Unwrap(); cause != nil {
		return fmt.Errorf("%s: %w", f.ErrorField, cause)
	}
	return fmt.Errorf("%w: %s %s", err, f.HintField, f.DebugField)
}
