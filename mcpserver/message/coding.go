package message

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"io"
	"strings"
)

// Coded decodes the content coding of a response before its filter (RFC 9110 section 8.4), as the
// bytes arrive.
type Coded struct {
	Next Filter

	ctx   context.Context
	feed  chan []byte
	piece chan piece
	ready bool // the reader waits for more
}

// piece is what a reader has decoded, or why it stopped: it waits for more, or there is an error.
type piece struct {
	plain   []byte
	waiting bool
	err     error
}

// Undo returns a Coded for gzip and deflate. It ends with ctx.
func Undo(ctx context.Context, coding string, next Filter) (*Coded, bool) {
	var open func(io.Reader) (io.Reader, error)
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "gzip", "x-gzip":
		open = func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case "deflate":
		open = func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }
	default:
		return nil, false
	}
	c := &Coded{Next: next, ctx: ctx, feed: make(chan []byte), piece: make(chan piece)}
	go c.read(open)
	return c, true
}

// read decodes in a goroutine of its own, while Take or End wait.
func (c *Coded) read(open func(io.Reader) (io.Reader, error)) {
	defer close(c.piece)
	from, err := open(&fed{Coded: c})
	for b := make([]byte, 16<<10); err == nil; {
		var n int
		if n, err = from.Read(b); n > 0 && !c.give(piece{plain: bytes.Clone(b[:n])}) {
			return
		}
	}
	if err != io.EOF {
		c.give(piece{err: ErrUnreadable})
	}
}

func (c *Coded) give(p piece) bool {
	select {
	case c.piece <- p:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// fed holds the arrived bytes for the reader.
type fed struct {
	*Coded
	left []byte
}

func (f *fed) Read(p []byte) (int, error) {
	for len(f.left) == 0 {
		if !f.give(piece{waiting: true}) {
			return 0, f.ctx.Err()
		}
		var ok bool
		select {
		case f.left, ok = <-f.feed:
		case <-f.ctx.Done():
			return 0, f.ctx.Err()
		}
		if !ok {
			return 0, io.EOF
		}
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}

// collect returns what the reader decodes until it waits for more, or ends.
func (c *Coded) collect() (out []byte, err error) {
	for p := range c.piece {
		switch {
		case p.waiting:
			c.ready = true
			return out, nil
		case p.err != nil:
			return out, p.err
		}
		more, err := c.Next.Take(p.plain)
		if out = append(out, more...); err != nil {
			return out, err
		}
	}
	return out, c.ctx.Err()
}

// Take implements Filter.
func (c *Coded) Take(p []byte) (out []byte, err error) {
	if !c.ready {
		if out, err = c.collect(); err != nil {
			return out, err
		}
	}
	if !c.ready { // it has ended
		return out, ErrUnreadable
	}
	c.ready = false
	select {
	case c.feed <- p:
	case <-c.ctx.Done():
		return out, c.ctx.Err()
	}
	more, err := c.collect()
	return append(out, more...), err
}

// End implements Filter.
func (c *Coded) End() (out []byte, err error) {
	close(c.feed)
	for c.ready = true; c.ready && err == nil; {
		c.ready = false
		var more []byte
		more, err = c.collect()
		out = append(out, more...)
	}
	if err != nil {
		return out, err
	}
	more, err := c.Next.End()
	return append(out, more...), err
}
