package httpd

import (
	"bytes"
	"io"
	"net/http"
)

// Buffer reads the body of a request and returns it. The body can be read again; an error that
// ended the reading comes then.
func Buffer(r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	r.Body = &buffered{Reader: bytes.NewReader(body), err: err}
	return body
}

// buffered is a body that was read, with the error that ended the reading.
type buffered struct {
	*bytes.Reader
	err error // nil: the end
}

// Read implements io.Reader.
func (b *buffered) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.err != nil {
		err = b.err
	}
	return n, err
}

// WriteTo hides bytes.Reader's, which does not return the error.
func (b *buffered) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{b}) }

// Close implements io.Closer.
func (b *buffered) Close() error { return nil }
