package message

import (
	"bytes"
	"encoding/json"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Listings are the members of a result that are lists.
func Listings() []string { return []string{"tools", "prompts", "resources", "resourceTemplates"} }

// Mend removes unreadable entries from the lists of a message, so that one of them does not make
// the whole message unreadable. left are the removed entries. ok is false if the message is
// unreadable for another reason, or has no such entry.
func Mend(raw []byte) (out []byte, left []json.RawMessage, ok bool) {
	envelope, ok := shallow(bytes.TrimSpace(raw), '{')
	if !ok {
		return nil, nil, false
	}
	for i, e := range envelope {
		if string(e.Name) != "result" {
			continue
		}
		result, ok := shallow(e.Value, '{')
		if !ok {
			return nil, nil, false
		}
		for j, m := range result {
			for _, l := range Listings() {
				if string(m.Name) == l {
					var without []json.RawMessage
					result[j].Value, without = readable(m.Value)
					left = append(left, without...)
				}
			}
		}
		envelope[i].Value = Object(result)
	}
	out = Object(envelope)
	_, err := Members(out) // a strict check of all that is left
	return out, left, err == nil && len(left) > 0
}

// readable returns a list without unreadable entries.
func readable(list json.RawMessage) (kept json.RawMessage, left []json.RawMessage) {
	entries, ok := shallow(list, '[')
	if !ok {
		return list, nil
	}
	kept = json.RawMessage{'['}
	for _, e := range entries {
		if _, err := Members(e.Value); err != nil {
			left = append(left, e.Value)
			continue
		}
		if len(kept) > 1 {
			kept = append(kept, ',')
		}
		kept = append(kept, e.Value...)
	}
	return append(kept, ']'), left
}

// shallow splits an object or array by its brackets, commas and quotes alone.
func shallow(data []byte, kind byte) ([]Member, bool) {
	if len(data) < 2 || data[0] != kind || data[len(data)-1] != kind+2 { // { and }, [ and ] are two apart
		return nil, false
	}
	var all []Member
	depth, text, escaped, begin := 0, false, false, 1
	piece := func(end int) bool {
		part := bytes.TrimSpace(data[begin:end])
		if begin = end + 1; len(part) == 0 {
			return len(all) == 0 && end == len(data)-1 // an empty one
		}
		var m Member
		if m.Value = part; kind == '{' {
			at := closing(part)
			read, err := strictjson.Value(part[:at])
			name, ok := read.(string)
			value, colon := bytes.CutPrefix(bytes.TrimLeft(part[at:], " \t\r\n"), []byte(":"))
			if err != nil || !ok || !colon {
				return false
			}
			m = Member{Name: []byte(name), Value: bytes.TrimSpace(value)}
		}
		all = append(all, m)
		return len(m.Value) > 0
	}
	for i := 1; i < len(data)-1; i++ {
		switch c := data[i]; {
		case text:
			text = escaped || c != '"'
			escaped = !escaped && c == '\\'
		case c == '"':
			text = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth < 0 {
				return nil, false
			}
		case c == ',' && depth == 0:
			if !piece(i) {
				return nil, false
			}
		}
	}
	return all, depth == 0 && !text && piece(len(data)-1)
}

// closing returns where a text continues after its first string; 0: it does not begin with one.
func closing(text []byte) int {
	if text[0] != '"' {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// NameOf returns the name of an unreadable list entry, for the log; "" if it is unreadable too.
func NameOf(entry json.RawMessage) string {
	members, _ := shallow(bytes.TrimSpace(entry), '{')
	for _, m := range members {
		switch string(m.Name) {
		case "name", "uri", "uriTemplate":
			return string(bytes.ToValidUTF8(m.Value[:min(len(m.Value), maxNamed)], []byte("?")))
		}
	}
	return ""
}

// maxNamed limits that name, in bytes.
const maxNamed = 128
