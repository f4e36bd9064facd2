package configfile

import (
	"fmt"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// maxNesting bounds the nesting of a YAML document. The parser keeps the path with each value and
// recurses at each level: some hundred kilobytes of brackets would exhaust memory.
const maxNesting = 32

// CheckNesting rejects YAML that is nested too deeply, with its line, before it is parsed.
func CheckNesting(content []byte) error { return checkNesting(lexer.Tokenize(string(content))) }

func checkNesting(tokens token.Tokens) error {
	flow, anchors := 0, 0 // open brackets and braces, and anchors in a row
	var columns []int     // columns of the open lists and mappings of indentation
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
				// invalid YAML, for which the parser would recurse at each level before it reports
				// it
				wrong = "a list with hyphens cannot stand in brackets or braces"
			}
		case token.TagType:
			// the parser takes what follows a tag in the next line to be inside it, whatever its
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

// beginning returns the column in which the list or mapping of tokens[i] begins: a colon stands
// behind its key.
func beginning(tokens token.Tokens, i int) int {
	if tokens[i].Type == token.MappingValueType && i > 0 && tokens[i-1].Position.Line == tokens[i].Position.Line {
		i--
	}
	return tokens[i].Position.Column
}

// around returns the columns that are still open where something begins in this one.
func around(columns []int, column int) []int {
	for len(columns) > 0 && columns[len(columns)-1] >= column {
		columns = columns[:len(columns)-1]
	}
	return columns
}
