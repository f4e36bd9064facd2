package authserver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

// described is how a client's metadata were taken: refused with words, or kept.
type described struct {
	refused  string
	redirect []string
	response []string
	logout   []string
}

// waysToDescribe are the three ways in which a client says what it is: they have one rule.
func waysToDescribe(t *testing.T) map[string]func(more string) described {
	h := startServer(t)
	list := func(v any) (out []string) {
		all, _ := v.([]any)
		for _, one := range all {
			out = append(out, fmt.Sprint(one))
		}
		return out
	}
	answered := func(status, good int, answer map[string]any) described {
		if status != good {
			if status != 400 || answer["error"] != "invalid_client_metadata" {
				t.Errorf("got %d %v, want 400 invalid_client_metadata", status, answer)
			}
			return described{refused: fmt.Sprint(answer["error_description"])}
		}
		return described{redirect: list(answer["redirect_uris"]), response: list(answer["response_types"]),
			logout: list(answer["post_logout_redirect_uris"])}
	}
	_, made := h.enrol(`{"redirect_uris":["` + callback + `"]}`)
	id, token := made["client_id"].(string), made["registration_access_token"].(string)
	return map[string]func(more string) described{
		"registration": func(more string) described {
			status, answer := h.enrol(`{"redirect_uris":["` + callback + `"]` + more + `}`)
			return answered(status, 201, answer)
		},
		"management": func(more string) described {
			status, answer := h.manage("PUT", id, token, `{"client_id":"`+id+`","redirect_uris":["`+callback+`"]`+
				more+`}`)
			return answered(status, 200, answer)
		},
		"document": func(more string) described {
			const at = "https://app.example/client.json"
			c, err := client.FromDocument(at,
				[]byte(`{"client_id":"`+at+`","client_name":"App","redirect_uris":["`+callback+`"]`+more+`}`),
				time.Now())
			if err != nil {
				return described{refused: err.Error()}
			}
			return described{redirect: c.RedirectURIs, response: []string{"code"}, logout: c.PostLogoutRedirectURIs}
		},
	}
}

// Members that are ignored, or that nothing depends on, do not refuse; what is dropped is seen in
// the answer.
func TestUnimportantMetadataDoNotRefuse(t *testing.T) {
	const good = "https://app.example/bye"
	for way, describe := range waysToDescribe(t) {
		for _, more := range []string{
			``, `,"contacts":"x"`, `,"contacts":[1]`, `,"logo_uri":{}`, `,"software_version":2`, `,"software_id":[]`,
			`,"client_uri":7`, `,"application_type":["web"]`, `,"policy_uri":1,"tos_uri":{},"unknown":[[]]`,
			`,"jwks_uri":5`, `,"jwks":7`, `,"scope":null`, `,"client_uri":null,"contacts":null,"grant_types":null`,
			`,"response_types":["code","id_token"]`, `,"response_types":["code","token","code id_token"]`,
			`,"Redirect_URIs":["https://evil.example/"]`, ",\"redirect_uri\u017f\":[\"https://evil.example/\"]",
			`,"REDIRECT_URIS":7,"Scope":{}`, `,"initiate_login_uri":"x","default_max_age":"y"`,
		} {
			got := describe(more)
			if got.refused != "" || !slices.Equal(got.redirect, []string{callback}) ||
				!slices.Equal(got.response, []string{"code"}) {
				t.Errorf("%s: %s: got %+v, want it taken with %s and code", way, more, got, callback)
			}
		}
		for _, bad := range []string{`"javascript:alert(1)"`, `"http://app.example/out"`, `7`, `null`, `{}`,
			`"not a uri"`, `""`} {
			got := describe(`,"post_logout_redirect_uris":[` + bad + `,"` + good + `"]`)
			if got.refused != "" || !slices.Equal(got.logout, []string{good}) {
				t.Errorf("%s: %s beside a good one: got %+v, want the good one kept", way, bad, got)
			}
		}
	}
}

// What is of a wrong type and matters is refused by its name, and so is what has no one reading.
func TestMetadataThatMatterAreRefusedByName(t *testing.T) {
	for way, describe := range waysToDescribe(t) {
		for more, want := range map[string]string{
			`,"scope":7`: "scope must be a string", `,"scope":["a"]`: "scope must be a string",
			`,"grant_types":"authorization_code"`:        "grant_types must be an array of strings",
			`,"response_types":"code"`:                   "response_types must be an array of strings",
			`,"response_types":[1]`:                      "response_types must be an array of strings",
			`,"client_name":{}`:                          "client_name must be a string",
			`,"token_endpoint_auth_method":["none"]`:     "token_endpoint_auth_method must be a string",
			`,"dpop_bound_access_tokens":"yes"`:          "dpop_bound_access_tokens must be true or false",
			`,"require_pushed_authorization_requests":1`: "require_pushed_authorization_requests must be true or false",
			`,"post_logout_redirect_uris":"https://app.example/bye"`: "post_logout_redirect_uris must be an array of " +
				"strings", `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":5`: "jwks_uri must be a string",
			`,"token_endpoint_auth_method":"private_key_jwt","jwks":7`: "jwks is not a set",
			`,"post_logout_redirect_uris":["javascript:alert(1)"]`:     "post_logout_redirect_uris",
			`,"scope":"a","scope":"b"`:                                 "a member twice",
			`,"x\u0000":1`:                                             "control character",
			`,"x":"\ud800"`:                                            "not one JSON value",
			",\"x\":\"\xff\"":                                          "not one JSON value",
			`}{"a":1`:                                                  "not one JSON value",
			`,"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64): "too deep",
			`,"redirect_uris\u0000":["https://evil.example/"]`:          "control character",
		} {
			if way == "document" && strings.Contains(more, `"client_name"`) {
				continue // it is there already
			}
			if way == "management" && strings.Contains(more, "private_key_jwt") {
				continue // the method cannot be changed there
			}
			if got := describe(more); !strings.Contains(got.refused, want) {
				t.Errorf("%s: %s: got %+v, want %q", way, more, got, want)
			}
		}
		if got := describe(`,"response_types":["token"]`); !strings.Contains(got.refused, "response") {
			t.Errorf("%s: without code: got %+v", way, got)
		}
	}
	h := startServer(t)
	for _, text := range []string{`{"redirect_uris":"x"}`, `{"redirect_uris":[7]}`, `{"redirect_uris":{}}`} {
		status, answer := h.enrol(text)
		wantError(t, text, status, answer, 400, "invalid_client_metadata")
		if !strings.Contains(fmt.Sprint(answer["error_description"]), "redirect_uris must be an array of strings") {
			t.Errorf("%s: got %v", text, answer)
		}
	}
}
