package message

import (
	"bytes"
	"io"
	"net/http"
)

// body is a request body that was read and parsed already.
type body struct {
	bytes.Reader
	raw []byte
	m   *Message
}

func (b *body) Close() error { return nil }

// SetBody sets the body of a request. m is its parsed message; nil: it is not parsed yet.
func SetBody(r *http.Request, raw []byte, m *Message) {
	b := &body{raw: raw, m: m}
	b.Reset(raw)
	r.Body, r.ContentLength, r.TransferEncoding = b, int64(len(raw)), nil
}

// BodyOf returns the body of a request and its message, from SetBody or by reading and parsing it.
// Do not change the message. An invalid message is returned as far as it was parsed.
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
