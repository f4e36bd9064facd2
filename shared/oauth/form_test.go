package oauth_test

import (
	"net/url"
	"reflect"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

func TestParseFormLeavesOutWhatHasNoValue(t *testing.T) {
	for encoded, want := range map[string]url.Values{
		"":                              {},
		"a=":                            {},
		"a":                             {},
		"a=&b=x":                        {"b": {"x"}},
		"a=x\r\n":                       {"a": {"x"}},
		"a=x\n":                         {"a": {"x"}},
		"a=x%0D%0A":                     {"a": {"x\r\n"}},
		"a=\r\n":                        {},
		"resource=&resource=r":          {"resource": {"r"}},
		"resource=&resource=":           {},
		"audience=a&audience=&resource": {"audience": {"a"}},
		"a=&a=x":                        {"a": {"", "x"}}, // twice is twice
		"a=+":                           {"a": {" "}},
		"=x":                            {"": {"x"}},
	} {
		got, err := oauth.ParseForm(encoded)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v %v, want %v", encoded, got, err, want)
		}
	}
	for _, encoded := range []string{"a=%zz", "a=%ff", "%ff=a", "a;b"} {
		if got, err := oauth.ParseForm(encoded); err == nil {
			t.Errorf("%q: got %v, want an error", encoded, got)
		}
	}
	if form, _ := oauth.ParseForm("a=&a=x"); oauth.Once(form) == nil {
		t.Error("a parameter twice, once without a value: got nil, want an error")
	}
}

func TestCredentials(t *testing.T) {
	for header, want := range map[string][2]string{
		"Basic abc": {"Basic", "abc"}, "Basic    abc": {"Basic", "abc"}, "Basic": {"Basic", ""}, "": {"", ""},
		"Basic\tabc": {"Basic\tabc", ""}, "Bearer a b": {"Bearer", "a b"},
	} {
		if scheme, credentials := oauth.Credentials(header); scheme != want[0] || credentials != want[1] {
			t.Errorf("%q: got %q %q, want %q", header, scheme, credentials, want)
		}
	}
}
