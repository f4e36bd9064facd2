package configfile

import (
	"fmt"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// maxNesting bounds how deep a YAML document is nested: no file of ours needs a third of it. The
// parser keeps the path to it with each value, and calls itself for each level: some hundred
// kilobytes of brackets would take all the memory that there is.
const maxNesting = 32

// CheckNesting refuses YAML that the parser would go too deep for, with the line of it. It is for
// before the parser.
func CheckNesting(content []byte) error { return checkNesting(lexer.Tokenize(string(content))) }

func checkNesting(tokens token.Tokens) error {
	flow, anchors := 0, 0 // brackets and braces that are open, and anchors in a row
	var columns []int     // in which the lists and mappings that are told by indentation begin
	for i, t := range tokens {
		wrong := ""
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0)
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			if flow == 0 {
				columns = append(around(columns, beginning(tokens, i)), beginning(tokens, i))
			} else if t.Type == token.SequenceEntryType {
				// it is no YAML, and the parser would go a level deeper at each before it says so
				wrong = "a list with hyphens cannot stand in brackets or braces"
			}
		case token.TagType:
			// the parser takes what follows one in the next line to be within it, whatever its
			// indentation
			wrong = fmt.Sprintf("a tag such as %.40s is nothing that is wanted here", t.Value)
		}
		switch {
		case t.Type == token.AnchorType:
			anchors++
		case i == 0 || tokens[i-1].Type != token.AnchorType: // it is no anchor's name
			anchors = 0
		}
		if flow+len(columns)+anchors > maxNesting {
			wrong = fmt.Sprintf("it is nested deeper than %d levels", maxNesting)
		}
		if wrong != "" {
			return &LineError{t.Position.Line, wrong}
		}
	}
	return nil
}

// beginning is the column in which the list or mapping begins that tokens[i] is of: a colon stands
// behind its key.
func beginning(tokens token.Tokens, i int) int {
	if tokens[i].Type == token.MappingValueType && i > 0 && tokens[i-1].Position.Line == tokens[i].Position.Line {
		i--
	}
	return tokens[i].Position.Column
}

// around are the columns of what is still open where something begins in this one.
func around(columns []int, column int) []int {
	for len(columns) > 0 && columns[len(columns)-1] >= column {
		columns = columns[:len(columns)-1]
	}
	return columns
}
