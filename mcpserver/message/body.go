package message

import (
	"bytes"
	"io"
	"net/http"
)

// body is the body of a request that was read and taken apart: whoever comes next need do neither.
type body struct {
	bytes.Reader
	raw []byte
	m   *Message
}

func (b *body) Close() error { return nil }

// SetBody gives a request its body anew. m is what Parse makes of it; nil: nobody has taken it
// apart.
func SetBody(r *http.Request, raw []byte, m *Message) {
	b := &body{raw: raw, m: m}
	b.Reset(raw)
	r.Body, r.ContentLength, r.TransferEncoding = b, int64(len(raw)), nil
}

// BodyOf is a request's body and its message: as SetBody has them, or read and taken apart now. The
// message must not be changed. One that cannot be taken apart is as far as it was read: what is
// wrong with it was said by whoever checked it.
func BodyOf(r *http.Request) (raw []byte, m *Message, err error) {
	b, ok := r.Body.(*body)
	if !ok {
		if raw, err = io.ReadAll(r.Body); err != nil {
			return nil, nil, err
		}
		b = &body{raw: raw}
	}
	if b.m == nil {
		read, _ := Parse(b.raw)
		b.m = &read
	}
	return b.raw, b.m, nil
}
