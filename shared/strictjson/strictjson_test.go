package strictjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// claims are what the tests read.
type claims struct {
	Subject string   `json:"sub"`
	Keys    []string `json:"keys"`
	Expires int64    `json:"exp"`
	inner
}

type inner struct {
	Email string `json:"email"`
}

// A struct's fields are read by their exact names; what is spelled otherwise is another name, and
// ignored.
func TestUnmarshalComparesNamesExactly(t *testing.T) {
	for text, want := range map[string]string{
		`{"sub":"ann","email":"a"}`: "ann a", `{"sub":"ann","Sub":"mallory"}`: "ann ",
		`{"SUB":"mallory","sub":"ann"}`: "ann ", `{"\u0073ub":"ann"}`: "ann ",
		"{\"sub\":\"ann\",\"\u017fub\":\"mallory\"}":               "ann ",
		"{\"keys\":[\"a\"],\"\u212aeys\":[\"b\"],\"Email\":\"m\"}": " a", `{"sub":null}`: " ",
		`{"sub":"ann","unknown":{"sub":"mallory"}}`: "ann ", ` {"sub":"ann"} `: "ann ",
		`{"sub":"\ud83d\ude00"}`: "\U0001f600 ",
	} {
		var c claims
		if err := strictjson.Unmarshal([]byte(text), &c); err != nil ||
			c.Subject+strings.Join(c.Keys, "")+" "+c.Email != want && c.Subject+" "+strings.Join(c.Keys, "") != want {
			t.Errorf("%s: got %+v %v, want %q", text, c, err, want)
		}
	}
}

// Each kind of text that two readers could take for two things is refused by its own error, at
// every depth.
func TestWhatIsRefused(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + `1` + strings.Repeat(`}`, n) }
	for _, row := range []struct {
		text string
		want error
	}{
		{`{"a":1,"a":1}`, strictjson.ErrTwice}, {`{"a":1,"\u0061":1}`, strictjson.ErrTwice},
		{`{"b":[{"a":1,"a":1}]}`, strictjson.ErrTwice},
		{`{"a\u0000":1}`, strictjson.ErrControl}, {`{"\n":1}`, strictjson.ErrControl},
		{"{\"a\x7f\":1}", strictjson.ErrControl}, {`{"b":[{"\u001F":1}]}`, strictjson.ErrControl},
		{"{\"a\":\"\xff\"}", strictjson.ErrSyntax}, {"{\"\xff\":1}", strictjson.ErrSyntax},
		{`{"a":"\ud800"}`, strictjson.ErrSyntax}, {`{"a":"\udc00\ud800"}`, strictjson.ErrSyntax},
		{`{"a":"\ud800\u0041"}`, strictjson.ErrSyntax}, {`{"a":"\ud800\ud800"}`, strictjson.ErrSyntax},
		{`{"\ud800":1}`, strictjson.ErrSyntax}, {`{"a":"\ud800`, strictjson.ErrSyntax},
		{`{"a":"\ud800\u`, strictjson.ErrSyntax},
		{`{"a":1}{}`, strictjson.ErrSyntax}, {`{"a":1} null`, strictjson.ErrSyntax}, {`{"a":1},`, strictjson.ErrSyntax},
		{"{}\x00", strictjson.ErrSyntax}, {"\ufeff{}", strictjson.ErrSyntax},
		{``, strictjson.ErrSyntax}, {`[]`, strictjson.ErrSyntax}, {`null`, strictjson.ErrSyntax},
		{`{"a":01}`, strictjson.ErrSyntax}, {`{"a":NaN}`, strictjson.ErrSyntax}, {`{'a':1}`, strictjson.ErrSyntax},
		{`{"a":1,}`, strictjson.ErrSyntax}, {"{\"a\":\"\n\"}", strictjson.ErrSyntax},
		{`{"a":1 /* */}`, strictjson.ErrSyntax},
		{deep(strictjson.MaxDepth + 1), strictjson.ErrDepth}, {deep(100_000), strictjson.ErrDepth},
		{deep(strictjson.MaxDepth), nil}, {`{"a":1}`, nil}, {"{\"a\":\"\u2028\x7f\"}", nil},
	} {
		if _, err := strictjson.Members([]byte(row.text)); !errors.Is(err, row.want) {
			t.Errorf("Members of %.60q: got %v, want %v", row.text, err, row.want)
		}
		if _, err := strictjson.Elements([]byte("[" + row.text + "]")); row.want != nil &&
			row.want != strictjson.ErrSyntax && !errors.Is(err, row.want) {
			t.Errorf("Elements of [%.60q]: got %v, want %v", row.text, err, row.want)
		}
		var into struct {
			A any `json:"a"`
		}
		if err := strictjson.Unmarshal([]byte(row.text), &into); !errors.Is(err, row.want) && row.text != `null` &&
			row.text != `[]` {
			t.Errorf("Unmarshal of %.60q: got %v, want %v", row.text, err, row.want)
		}
	}
}

// A member of a wrong type is named.
func TestAWrongTypeIsNamed(t *testing.T) {
	for text, want := range map[string]string{`{"sub":1}`: "/sub", `{"keys":["a",2]}`: "/keys/1",
		`{"keys":"a"}`: "/keys", `{"exp":1.5}`: "/exp", `{"email":{}}`: "/email"} {
		var c claims
		err := strictjson.Unmarshal([]byte(text), &c)
		var wrong *strictjson.TypeError
		if !errors.As(err, &wrong) || wrong.Pointer != want || !errors.Is(err, strictjson.ErrType) {
			t.Errorf("%s: got %v, want a wrong type at %s", text, err, want)
		}
	}
}

// What is passed on may have what is not acted on: control characters in names that lie deeper,
// halves of pairs.
func TestRulesForWhatIsPassedOn(t *testing.T) {
	const text = `{"a":{"b\n":"\ud83d"}}`
	for _, row := range []struct {
		rules strictjson.Rules
		want  error
	}{
		{strictjson.Rules{Names: 1, Halves: true}, nil},
		{strictjson.Rules{Names: 2, Halves: true}, strictjson.ErrControl},
		{strictjson.Rules{Names: 1}, strictjson.ErrSyntax},
	} {
		members, err := row.rules.Members([]byte(text))
		if !errors.Is(err, row.want) || err == nil && fmt.Sprintf("%s", members) != `[{a {"b\n":"\ud83d"}}]` {
			t.Errorf("%+v: got %s %v, want %v", row.rules, members, err, row.want)
		}
	}
	if text, ok := strictjson.Text([]byte(`"a\ud83d"`)); text != "a\ufffd" || !ok {
		t.Errorf("half a pair is %q", text)
	}
	if _, ok := strictjson.Text([]byte(`1`)); ok {
		t.Error("a number is a string")
	}
}

// A value of any kind keeps its numbers as they are written.
func TestValueKeepsNumbers(t *testing.T) {
	v, err := strictjson.Value([]byte(`{"b":[9007199254740993,1.50,-1e400],"a":"\u003c"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if want := `{"a":"\u003c","b":[9007199254740993,1.50,-1e400]}`; err != nil || string(text) != want {
		t.Errorf("got %s %v, want %s", text, err, want)
	}
	if _, err := strictjson.Value([]byte(`{"a":1,"a":2}`)); !errors.Is(err, strictjson.ErrTwice) {
		t.Errorf("a member twice: %v", err)
	}
}
