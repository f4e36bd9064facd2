package message

import (
	"encoding/json"
	"errors"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Member is a member of an object: its decoded name and its value as it was written.
type Member = strictjson.Member

// Names without control characters are those of the envelope, of params, and of the objects in
// params (_meta, arguments, ref): decisions depend on them. Deeper ones are the tool's data.
const decided = 3

var (
	asked    = strictjson.Rules{Names: decided}
	told     = strictjson.Rules{Names: 1, Halves: true}
	answered = strictjson.Rules{Halves: true} // a server may cut a text within a character; Exact checks names
)

// Members decodes an object of a checked message or of a response.
func Members(data []byte) ([]Member, error) { return answered.Members(data) }

// Elements decodes an array of a response.
func Elements(data []byte) ([]json.RawMessage, error) { return answered.Elements(data) }

// Value returns the value of a member; nil if there is none, or object is not an object.
func Value(object []byte, name string) json.RawMessage {
	members, err := Members(object)
	if err != nil {
		return nil
	}
	return Find(members, name)
}

// Find returns the value of the member with this name; nil: there is none.
func Find(members []Member, name string) json.RawMessage { return strictjson.Find(members, name) }

// Text returns a string value, or "".
func Text(value json.RawMessage) string {
	text, _ := strictjson.Text(value)
	return text
}

// Object encodes members as an object.
func Object(members []Member) []byte {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(string(m.Name))
		if err != nil {
			panic("message: a name that is no JSON: " + err.Error()) // a string always can
		}
		b = append(append(append(b, name...), ':'), m.Value...)
	}
	return append(b, '}')
}

// unreadable returns the fault of a message that is not valid JSON.
func unreadable(err error) *Fault {
	f := Invalid("the message cannot be read: " + err.Error())
	if errors.Is(err, strictjson.ErrSyntax) {
		f.Code = CodeParse
	}
	return f
}
