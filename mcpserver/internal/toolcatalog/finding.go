package toolcatalog

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// Suspicions returns what in a tool's texts is meant for an agent and hidden from a person:
// invisible characters, and phrases that give instructions. It finds obvious cases only.
func Suspicions(t Tool) []string {
	var found, alone []string
	say := func(what string) {
		if !slices.Contains(found, what) {
			found = append(found, what)
		}
	}
	for _, s := range t.texts() {
		for _, c := range text.Hidden(s) {
			if c != '\n' && c != '\r' && c != '\t' {
				say(fmt.Sprintf("%s (U+%04X)", kindOf(c), c))
			}
		}
		plain := strings.ToLower(text.Line(s, 0))
		for _, phrase := range phrases() {
			if strings.Contains(plain, phrase) {
				say(fmt.Sprintf("text like an instruction: %q", phrase))
			}
		}
		for _, phrase := range common() {
			if strings.Contains(plain, phrase) && !slices.Contains(alone, phrase) {
				alone = append(alone, phrase)
			}
		}
	}
	if len(found) > 0 { // suspicious only together with another finding
		for _, phrase := range alone {
			say(fmt.Sprintf("text like an instruction: %q", phrase))
		}
	}
	return found
}

// common returns phrases that occur in honest descriptions too: alone they are no finding.
func common() []string { return []string{"you must", "api key"} }

// texts returns all that an agent may read of a tool: schemas and unknown members too.
func (t Tool) texts() []string { return gather(t.whole, nil) }

func gather(v any, into []string) []string {
	switch v := v.(type) {
	case string:
		return append(into, v)
	case []any:
		for _, e := range v {
			into = gather(e, into)
		}
	case map[string]any:
		for name, e := range v {
			into = gather(e, append(into, name))
		}
	}
	return into
}

// kindOf returns the kind of a character that must not be shown.
func kindOf(c rune) string {
	switch {
	case c >= 0xE0000 && c <= 0xE007F:
		return "tag character"
	case c >= 0x202A && c <= 0x202E, c >= 0x2066 && c <= 0x2069, c == 0x200E, c == 0x200F, c == 0x061C:
		return "character that turns the direction of text"
	case unicode.Is(unicode.Co, c):
		return "character of private use"
	case unicode.IsControl(c):
		return "control character"
	case unicode.Is(unicode.Cf, c):
		return "character without width"
	}
	return "character that shows nothing"
}

// phrases returns phrases of descriptions that try to bypass the person.
func phrases() []string {
	return []string{
		"ignore previous", "ignore all", "ignore any", "ignore the above", "disregard", "forget your", "override your",
		"system prompt", "<important>", "<system>", "[system]", "<secret>",
		"do not tell", "don't tell", "do not mention", "don't mention", "do not inform", "without telling",
		"without asking", "without the user", "secretly", "silently",
		"before using this tool", "before calling this tool", "before you use any", "always call this",
		"must call this", "instead of any other", "instead of using", "do not use any other",
		"you should always", "you are now", "id_rsa", ".ssh/", ".aws/", "/etc/passwd", "access token",
		"conversation history", "chat history",
	}
}
