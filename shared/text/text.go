// Package text makes untrusted text safe to show: nothing in it changes or hides what is beside it.
package text

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
	emojiSelector      = '\ufe0f'
)

// fillers are invisible characters that Unicode classifies as letters, marks or symbols.
var fillers = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x180b, Hi: 0x180f, Stride: 1},
		{Lo: 0x2800, Hi: 0x2800, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1}, {Lo: 0xfe00, Hi: 0xfe0f, Stride: 1},
		{Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1}},
}

// viramas are the signs after which a joiner changes the form of adjacent letters (Unicode,
// Canonical_Combining_Class=Virama).
var viramas = map[rune]bool{}

func init() {
	for _, r := range "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u0e3a" +
		"\u0eba\u0f84\u1039" +
		"\u103a\u1714\u1715\u1734\u17d2\u1a60\u1b44\u1baa\u1bab\u1bf2\u1bf3\u2d7f\ua806\ua82c\ua8c4\ua953" +
		"\ua9c0\uaaf6\uabed\U00011046\U0001107f\U000110b9\U00011133\U00011134\U000111c0\U00011235\U000112ea" +
		"\U0001134d\U00011442\U000114c2\U000115bf\U0001163f\U000116b6" {
		viramas[r] = true
	}
}

// joining are the scripts whose letters join, so that a non-joiner between two of them is visible.
var joining = []*unicode.RangeTable{
	unicode.Arabic, unicode.Syriac, unicode.Mandaic, unicode.Mongolian, unicode.Nko, unicode.Phags_Pa, unicode.Adlam,
	unicode.Hanifi_Rohingya, unicode.Manichaean, unicode.Psalter_Pahlavi, unicode.Sogdian,
}

// hidden reports whether a character is a control, changes the direction of text, or is invisible
// and no space.
func hidden(r rune) bool {
	return !unicode.IsGraphic(r) || unicode.In(r, unicode.Cf, unicode.Co, fillers)
}

// belongs reports whether a joiner or variation selector has an effect between last and next (RFC
// 5892 appendix A; UTS #51).
func belongs(r, last, next rune) bool {
	switch r {
	case zeroWidthNonJoiner:
		return viramas[last] && unicode.IsLetter(next) || unicode.In(last, joining...) &&
			unicode.In(next, joining...) && unicode.IsLetter(next)
	case zeroWidthJoiner:
		return viramas[last] && unicode.IsLetter(next) || (emoji(last) || last == emojiSelector) && emoji(next)
	case emojiSelector:
		return emoji(last) || last >= '0' && last <= '9' || last == '#' || last == '*'
	}
	return false
}

// emoji reports whether a character may be part of an emoji, approximately.
func emoji(r rune) bool {
	return r >= 0x1f000 && r <= 0x1faff || r >= 0x2190 && r <= 0x2bff && r != 0x2800 || r == 0x3030 || r == 0x303d ||
		r == 0x3297 || r == 0x3299 || r == 0xa9 || r == 0xae || r == 0x203c || r == 0x2049 || r == 0x2122 || r == 0x2139
}

// each calls shown for every character that may be shown, and otherwise for the others.
func each(s string, shown, otherwise func(r rune)) {
	var last rune
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			otherwise(r)
			continue
		}
		if hidden(r) {
			next, _ := utf8.DecodeRuneInString(s[i+size:])
			if !belongs(r, last, next) {
				otherwise(r)
				continue
			}
		}
		shown(r)
		last = r
	}
}

// URL returns an untrusted URL as Line shows it, without userinfo, query and fragment, which may
// contain secrets; "" when it cannot be parsed.
func URL(raw string, most int) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return Line(u.String(), most)
}

// Line returns a text for people on one line: without hidden characters, with runs of spaces as
// one, cut after most characters (0: not cut).
func Line(s string, most int) string {
	var out strings.Builder
	each(s, func(r rune) {
		if unicode.IsSpace(r) {
			r = ' '
		}
		out.WriteRune(r)
	}, func(r rune) {
		if unicode.IsSpace(r) {
			out.WriteByte(' ')
		}
	})
	line := strings.Join(strings.Fields(out.String()), " ")
	if most > 0 && utf8.RuneCountInString(line) > most {
		line = strings.TrimSpace(string([]rune(line)[:most]))
	}
	return line
}

// Marked returns a text for a record: hidden characters, except those in keep, become question
// marks, and beyond most bytes it is cut with an ellipsis.
func Marked(s string, most int, keep string) string {
	if plain(s) && len(s) <= most {
		return s
	}
	cut := len(s) > most
	if cut {
		for s = s[:most]; len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) &&
			!utf8.RuneStart(s[len(s)-1]); {
			s = s[:len(s)-1]
		}
	}
	var out strings.Builder
	each(s, func(r rune) { out.WriteRune(r) }, func(r rune) {
		if strings.ContainsRune(keep, r) && r != utf8.RuneError {
			out.WriteRune(r)
			return
		}
		out.WriteByte('?')
	})
	if cut {
		out.WriteString("…")
	}
	return out.String()
}

// plain reports whether a text is printable ASCII, as most are.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Hidden returns the hidden characters of a text, in order.
func Hidden(s string) (all []rune) {
	each(s, func(rune) {}, func(r rune) { all = append(all, r) })
	return all
}

// Hides reports whether a text has hidden characters.
func Hides(s string) (yes bool) {
	each(s, func(rune) {}, func(rune) { yes = true })
	return yes
}
