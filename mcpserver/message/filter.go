package message

import (
	"bytes"
	"errors"
	"strings"
)

// What can be wrong with an answer whose messages are to be changed.
var (
	ErrTooLong    = errors.New("the server behind this gateway answers with more than is passed on; ask for less")
	ErrUnreadable = errors.New("the server's answer is not one JSON message")
)

// maxHeld bounds what is held back of an answer where nothing else is said, in bytes.
const maxHeld = 8 << 20

// beyond reports whether more is held back than may be; 0: than maxHeld.
func beyond(n int, most int64) bool {
	if most <= 0 {
		most = maxHeld
	}
	return int64(n) > most
}

// Filter is what the bytes of an answer go through when its messages are to be changed.
type Filter interface {
	// Take takes bytes, and gives those that may go on.
	Take(p []byte) ([]byte, error)
	// End gives what is left when the answer is whole.
	End() ([]byte, error)
}

// Whole holds an answer back until it is whole: it is one message.
type Whole struct {
	Cut  func(raw []byte) (out []byte, drop bool) // changes a message, or says that it must not go on
	Most int64                                    // bytes that are held back; 0: 8 MiB
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

// One lets an answer through, byte for byte and as it comes, that is one message. Several in one (a
// batch) were not asked for, and could hold an answer to what was asked elsewhere: they do not go
// on.
type One struct {
	space []byte // that comes before
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
	// nothing, or a part of the mark
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

// Events holds back one event at a time (text/event-stream): its data are one message.
type Events struct {
	Cut   func(raw []byte) (out []byte, drop bool)
	Most  int64 // bytes of one event; 0: 8 MiB
	b     bytes.Buffer
	line  int  // where the first line of it begins that is not whole
	read  int  // how far there is no end of that line
	begun bool // the mark that may begin a stream is off
}

// byteOrderMark may begin a stream, and is no part of its first line (HTML, "Parsing an event
// stream"): with it there, a list would pass for a line that says nothing.
const byteOrderMark = "\ufeff"

// Take implements Filter.
func (f *Events) Take(p []byte) ([]byte, error) {
	f.b.Write(p)
	return f.whole(false)
}

// whole takes the events out that are whole.
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
	if beyond(f.b.Len(), f.Most) { // of the event that is not whole
		return out, ErrTooLong
	}
	return out, nil
}

// End drops an event that was not finished: a client would, too.
func (f *Events) End() ([]byte, error) { return f.whole(true) }

// end is where the first event ends, after an empty line, however lines end; 0: not yet. No byte is
// looked at twice. last says that nothing will follow.
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

// event writes an event anew with its data cut down; what has no data goes as it is.
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
	// JSON that was written over several lines
	lines := bytes.Split(bytes.ReplaceAll(out, []byte("\r"), nil), []byte("\n"))
	for _, line := range lines {
		others = append(others, append([]byte("data: "), line...))
	}
	return append(bytes.Join(others, []byte("\n")), '\n', '\n')
}
