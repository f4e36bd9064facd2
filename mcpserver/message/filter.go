package message

import (
	"bytes"
	"errors"
	"strings"
)

// Errors of a response whose messages are filtered.
var (
	ErrTooLong    = errors.New("the server behind this gateway answers with more than is passed on; ask for less")
	ErrUnreadable = errors.New("the server's answer is not one JSON message")
)

// maxHeld is the default limit of buffered bytes.
const maxHeld = 8 << 20

// beyond reports whether more is buffered than allowed; 0 means maxHeld.
func beyond(n int, most int64) bool {
	if most <= 0 {
		most = maxHeld
	}
	return int64(n) > most
}

// Filter filters the bytes of a response.
type Filter interface {
	// Take takes bytes, and returns those that may be sent.
	Take(p []byte) ([]byte, error)
	// End returns the rest at the end of the response.
	End() ([]byte, error)
}

// Whole buffers a response that is one message.
type Whole struct {
	Cut  func(raw []byte) (out []byte, drop bool) // changes a message, or drops it
	Most int64                                    // limit of buffered bytes; 0: 8 MiB
	b    bytes.Buffer
}

// Take implements Filter.
func (f *Whole) Take(p []byte) ([]byte, error) {
	if beyond(f.b.Len()+len(p), f.Most) {
		return nil, ErrTooLong
	}
	f.b.Write(p)
	return nil, nil
}

// End implements Filter.
func (f *Whole) End() ([]byte, error) {
	if len(bytes.TrimSpace(f.b.Bytes())) == 0 {
		return f.b.Bytes(), nil
	}
	out, drop := f.Cut(f.b.Bytes())
	if drop {
		return nil, ErrUnreadable
	}
	return out, nil
}

// One passes on a response that is one message, unchanged and as it arrives. A batch is an error:
// it was not requested, and could hold the response to another request.
type One struct {
	space []byte // before the message
	begun bool
}

// Take implements Filter.
func (f *One) Take(p []byte) ([]byte, error) {
	if f.begun {
		return p, nil
	}
	if len(f.space) > 0 {
		p = append(f.space, p...)
	}
	first := bytes.TrimLeft(p, " \t\r\n"+byteOrderMark)
	// nothing yet, or a part of the byte order mark
	unknown := strings.HasPrefix(byteOrderMark, string(first[:min(len(first), len(byteOrderMark))]))
	switch {
	case unknown && len(p) > maxHeld:
		return nil, ErrTooLong
	case unknown:
		f.space = bytes.Clone(p)
		return nil, nil
	case first[0] == '[':
		return nil, ErrUnreadable
	}
	f.begun = true
	return p, nil
}

// End implements Filter.
func (f *One) End() ([]byte, error) {
	if f.begun {
		return nil, nil
	}
	return f.space, nil
}

// Events buffers one event of a stream at a time (text/event-stream); its data is one message.
type Events struct {
	Cut   func(raw []byte) (out []byte, drop bool)
	Most  int64 // limit of an event, in bytes; 0: 8 MiB
	b     bytes.Buffer
	line  int  // start of its first incomplete line
	read  int  // up to which there is no end of that line
	begun bool // the byte order mark was removed
}

// byteOrderMark may begin a stream, and is not part of its first line (HTML, "Parsing an event
// stream"): otherwise a list could pass as an ignored line.
const byteOrderMark = "\ufeff"

// Take implements Filter.
func (f *Events) Take(p []byte) ([]byte, error) {
	f.b.Write(p)
	return f.whole(false)
}

// whole removes the complete events.
func (f *Events) whole(last bool) (out []byte, err error) {
	if !f.begun {
		if !last && f.b.Len() < len(byteOrderMark) {
			return nil, nil
		}
		if f.begun = true; bytes.HasPrefix(f.b.Bytes(), []byte(byteOrderMark)) {
			f.b.Next(len(byteOrderMark))
		}
	}
	for n := f.end(last); n > 0; n = f.end(last) {
		if beyond(n, f.Most) {
			return out, ErrTooLong
		}
		out = append(out, f.event(f.b.Next(n))...)
		f.line, f.read = 0, 0
	}
	if beyond(f.b.Len(), f.Most) { // of the incomplete event
		return out, ErrTooLong
	}
	return out, nil
}

// End drops an incomplete event, as clients do.
func (f *Events) End() ([]byte, error) { return f.whole(true) }

// end returns the end of the first event, after an empty line with any line ending; 0: incomplete.
// No byte is read twice. last says that nothing will follow.
func (f *Events) end(last bool) int {
	b := f.b.Bytes()
	for f.read < len(b) {
		i := bytes.IndexAny(b[f.read:], "\r\n")
		if i < 0 {
			f.read = len(b)
			return 0
		}
		at := f.read + i
		next := at + 1
		if b[at] == '\r' {
			if next == len(b) && !last {
				f.read = at
				return 0 // a line feed may follow
			}
			if next < len(b) && b[next] == '\n' {
				next++
			}
		}
		if at == f.line {
			return next
		}
		f.line, f.read = next, next
	}
	return 0
}

// event rewrites an event with filtered data; one without data is unchanged.
func (f *Events) event(event []byte) []byte {
	var data, others [][]byte
	for line := range bytes.SplitSeq(bytes.ReplaceAll(bytes.ReplaceAll(event, []byte("\r\n"), []byte("\n")),
		[]byte("\r"), []byte("\n")), []byte("\n")) {
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, bytes.TrimPrefix(value, []byte(" ")))
		} else if len(line) > 0 && !bytes.Equal(line, []byte("data")) {
			others = append(others, line)
		}
	}
	joined := bytes.Join(data, []byte("\n"))
	if len(bytes.TrimSpace(joined)) == 0 {
		return event
	}
	out, drop := f.Cut(joined)
	if drop {
		return nil
	}
	if bytes.Equal(out, joined) {
		return event
	}
	// JSON over several lines
	lines := bytes.Split(bytes.ReplaceAll(out, []byte("\r"), nil), []byte("\n"))
	for _, line := range lines {
		others = append(others, append([]byte("data: "), line...))
	}
	return append(bytes.Join(others, []byte("\n")), '\n', '\n')
}
