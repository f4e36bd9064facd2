package message

import (
	"encoding/json"
	"errors"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Member is a member of an object: its name as it reads, its value as it was written.
type Member = strictjson.Member

// Names of a message that hold no control character are those of the envelope, of params, and of
// the objects in params (_meta, arguments, ref): a decision can hang from them. What lies deeper is
// the tool's data.
const decided = 3

var (
	asked    = strictjson.Rules{Names: decided}
	told     = strictjson.Rules{Names: 1, Halves: true}
	answered = strictjson.Rules{Halves: true} // a server may cut a text within a character; Exact looks at names
)

// Members reads an object of a message that was checked, or of what a server answers.
func Members(data []byte) ([]Member, error) { return answered.Members(data) }

// Elements reads an array of what a server answers: its elements as they were written.
func Elements(data []byte) ([]json.RawMessage, error) { return answered.Elements(data) }

// Value is the value of an object's member; nil when it has none of that name, or is no object.
func Value(object []byte, name string) json.RawMessage {
	members, err := Members(object)
	if err != nil {
		return nil
	}
	return Find(members, name)
}

// Find is the value of the member of this name; nil: there is none.
func Find(members []Member, name string) json.RawMessage { return strictjson.Find(members, name) }

// Text is the string that a value of a message is, or "".
func Text(value json.RawMessage) string {
	text, _ := strictjson.Text(value)
	return text
}

// Object writes members as one object.
func Object(members []Member) []byte {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(string(m.Name))
		if err != nil {
			panic("message: a name that is no JSON: " + err.Error()) // a string always is
		}
		b = append(append(append(b, name...), ':'), m.Value...)
	}
	return append(b, '}')
}

// unreadable is the fault of a message that is no JSON to act on.
func unreadable(err error) *Fault {
	f := Invalid("the message cannot be read: " + err.Error())
	if errors.Is(err, strictjson.ErrSyntax) {
		f.Code = CodeParse
	}
	return f
}
