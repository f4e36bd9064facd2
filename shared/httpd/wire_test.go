package httpd_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// TK-24: requests that two readers could take for two. What follows one of them on its connection
// is never read.
func TestRequestsWithTwoEnds(t *testing.T) {
	l, err := httpd.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpd.Server(httpd.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Saw", r.URL.Path+" "+string(body)+r.Header.Get("X-Folded"))
	}), httpd.Options{}))
	go server.Serve(l)
	defer server.Close()
	const (
		head   = "POST /first HTTP/1.1\r\nHost: house\r\n"
		second = "GET /second HTTP/1.1\r\nHost: house\r\n\r\n"
	)
	for name, row := range map[string]struct {
		wire string
		want []int // what may be answered
	}{
		"chunks and a length": {head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + second,
			[]int{200, 400}},
		"a length and chunks": {head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" +
			second, []int{200, 400}},
		"two lengths":       {head + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd" + second, []int{400}},
		"lengths in a list": {head + "Content-Length: 4, 5\r\n\r\nabcd" + second, []int{400}},
		"a signed length":   {head + "Content-Length: +4\r\n\r\nabcd" + second, []int{400}},
		"chunks of a sort":  {head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + second, []int{400, 501}},
		"chunks twice": {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
			second, []int{400, 501}},
		"chunks in disguise": {head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + second, []int{400}},
		"a tab of chunks": {head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + second,
			[]int{400, 501}},
		"no host":             {"POST /first HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + second, []int{400}},
		"two hosts":           {head + "Host: other\r\nContent-Length: 0\r\n\r\n" + second, []int{400}},
		"a name with a space": {head + "X Y: 1\r\nContent-Length: 0\r\n\r\n" + second, []int{400}},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(conn, row.wire)
			in := bufio.NewReader(conn)
			response, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
			ok := false
			for _, status := range row.want {
				ok = ok || response.StatusCode == status
			}
			if rest, err := io.ReadAll(in); !ok || len(rest) != 0 || err != nil && !response.Close {
				t.Errorf("got %d, then %q %v; want one of %v and the connection closed", response.StatusCode, rest, err,
					row.want)
			}
		})
	}

	// A header line that goes on on the next (RFC 9112 §5.2) is one value: it cannot begin a header
	// of its own.
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, head+"X-Folded: a\r\n Content-Length: 44\r\nContent-Length: 0\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != 400 && response.Header.Get("X-Saw") != "/first a Content-Length: 44" {
		t.Errorf("a folded line: got %v %v, want it refused or read as one", response, err)
	}
}
