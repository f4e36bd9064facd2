package httpd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// visit sends one request through a wrapped handler and returns the answer and the log.
func visit(h http.HandlerFunc, o httpd.Options, change ...func(*http.Request)) (*httptest.ResponseRecorder, string) {
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	r := httptest.NewRequest("POST", "/path?secret=in-the-query", strings.NewReader("secret in the body"))
	r.Header.Set("Authorization", "Bearer secret-in-the-header")
	r.RemoteAddr = "192.0.2.1:1234"
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	httpd.Handler(h, o).ServeHTTP(w, r)
	return w, log.String()
}

func TestOneEventARequest(t *testing.T) {
	w, log := visit(func(w http.ResponseWriter, r *http.Request) {
		httpd.Note(r.Context(), "client", "cli_1")
		httpd.Note(r.Context(), "evil", "a\nlevel=ERROR\x00\x1b[31m\u2028"+strings.Repeat("x", 5000))
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, httpd.SupportCode(r.Context()))
	}, httpd.Options{})
	if strings.Count(log, "msg=request") != 1 || !strings.Contains(log, "status=418") ||
		!strings.Contains(log, "client=cli_1") || !strings.Contains(log, "from=192.0.2.1") {
		t.Errorf("log: %s", log)
	}
	if strings.Count(log, "\n") != 1 || strings.Contains(log, "\x1b") || len(log) > 2000 { // DS-11
		t.Errorf("a note left its line or its bounds: %q", log)
	}
	if strings.Contains(log, "secret") {
		t.Errorf("the log holds what was sent: %s", log)
	}
	code := w.Body.String()
	if len(code) != 12 || w.Header().Get("X-Request-Id") != code || !strings.Contains(log, "support="+code) {
		t.Errorf("support code %q is not the answer's and the log's: %v %s", code, w.Header(), log)
	}
}

func TestAPanicIsAPlain500(t *testing.T) {
	w, log := visit(func(http.ResponseWriter, *http.Request) { panic("secret detail") }, httpd.Options{})
	if w.Code != 500 || strings.Contains(w.Body.String(), "detail") || !strings.Contains(log, "secret detail") {
		t.Errorf("got %d %s, log %s", w.Code, w.Body, log)
	}
	w, _ = visit(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); panic("late") }, httpd.Options{})
	if w.Code != 202 || w.Body.Len() != 0 {
		t.Errorf("after the answer began: got %d %s", w.Code, w.Body)
	}
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("ErrAbortHandler was kept from the server")
		}
	}()
	visit(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, httpd.Options{})
}

func TestBodiesAreBounded(t *testing.T) {
	var err error
	read := func(_ http.ResponseWriter, r *http.Request) { _, err = io.ReadAll(r.Body) }
	visit(read, httpd.Options{MaxBody: 18})
	if err != nil {
		t.Errorf("within the bound: got %v", err)
	}
	visit(read, httpd.Options{MaxBody: 17})
	var large *http.MaxBytesError
	if !errors.As(err, &large) {
		t.Errorf("one byte more: got %v, want MaxBytesError", err)
	}
}

// AZ-36, LG-10: only a trusted hop's word counts.
func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, row := range []struct {
		name, from string
		forwarded  []string
		want       string
	}{
		{"nobody in between", "198.51.100.7:1", nil, "198.51.100.7"},
		{"a stranger's word", "198.51.100.7:1", []string{"203.0.113.9"}, "198.51.100.7"},
		{"the proxy's word", "192.0.2.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"the proxy's word after a stranger's", "192.0.2.1:1", []string{"10.0.0.1, 203.0.113.9"}, "203.0.113.9"},
		{"in two headers", "192.0.2.1:1", []string{"10.0.0.1", "203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "192.0.2.1:1", []string{"203.0.113.9, 192.0.2.2"}, "203.0.113.9"},
		{"rubbish", "192.0.2.1:1", []string{"unknown"}, "192.0.2.1"},
		{"an address in another clothing", "[::ffff:192.0.2.1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got netip.Addr
			visit(func(_ http.ResponseWriter, r *http.Request) { got = httpd.ClientAddr(r.Context()) },
				httpd.Options{TrustedProxies: trusted}, func(r *http.Request) {
					r.RemoteAddr = row.from
					r.Header["X-Forwarded-For"] = row.forwarded
					r.Header.Set("X-Real-Ip", "10.1.1.1")
					r.Header.Set("Forwarded", "for=10.2.2.2")
				})
			if got.String() != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

// What is under way when the program is told to stop is finished; what takes too long is cut off.
func TestRunDrains(t *testing.T) {
	for name, row := range map[string]struct {
		drain time.Duration
		clean bool
	}{"in time": {time.Minute, true}, "too long": {time.Nanosecond, false}} {
		t.Run(name, func(t *testing.T) {
			began, finish := make(chan struct{}), make(chan struct{})
			l, err := httpd.Listen("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := httpd.Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(began)
				<-finish
				io.WriteString(w, "done")
			}))
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error)
			go func() {
				ended <- httpd.Run(ctx, []httpd.Door{{Server: server, Listener: l}}, httpd.Stop{Drain: row.drain})
			}()
			answer := make(chan string)
			go func() {
				r, err := http.Get("http://" + l.Addr().String())
				if err != nil {
					answer <- ""
					return
				}
				defer r.Body.Close()
				body, _ := io.ReadAll(r.Body)
				answer <- string(body)
			}()
			<-began
			stop()
			if row.clean {
				close(finish)
			}
			err, got := <-ended, <-answer
			if err != nil || row.clean && got != "done" || !row.clean && got != "" {
				t.Errorf("got %v and answer %q", err, got)
			}
			if !row.clean {
				close(finish)
			}
		})
	}
}

// E6: a stop cut requests: the listener was closed while a proxy still sent new connections. Each
// of these senders makes a connection for every request and stops when /readyz says so, as a proxy
// does.
func TestStopUnderLoadCutsNoRequest(t *testing.T) {
	var rounds sync.WaitGroup
	for range 20 {
		rounds.Go(func() { stopUnderLoad(t) })
	}
	rounds.Wait()
}

func stopUnderLoad(t *testing.T) {
	l, err := httpd.Listen("127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return
	}
	server := httpd.Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") }))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- httpd.Run(ctx, []httpd.Door{{Server: server, Listener: l}},
			httpd.Stop{Delay: 5 * time.Second, Drain: time.Minute})
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, error) {
		r, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			return 0, err
		}
		defer r.Body.Close()
		_, err = io.ReadAll(r.Body)
		return r.StatusCode, err
	}
	var senders sync.WaitGroup
	sent := make(chan struct{}, 1000)
	for range 4 {
		senders.Go(func() {
			for {
				switch code, err := get("/readyz"); {
				case err != nil:
					t.Errorf("/readyz: %v", err)
					return
				case code == http.StatusServiceUnavailable:
					return
				}
				if code, err := get("/"); err != nil || code != http.StatusOK {
					t.Errorf("a request was cut: %d, %v", code, err)
					return
				}
				select {
				case sent <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 8 {
		<-sent
	}
	stop()
	senders.Wait()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRunEndsWhenADoorBreaks(t *testing.T) {
	l, err := httpd.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other, err := httpd.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	h := http.NotFoundHandler()
	if err := httpd.Run(context.Background(), []httpd.Door{{Server: httpd.Server(h), Listener: l},
		{Server: httpd.Server(h), Listener: other}}, httpd.Stop{Delay: time.Hour, Drain: time.Second}); err == nil {
		t.Error("got nil, want the broken door's error")
	}
}

// DS-03: anyone who sends slowly, or says nothing more, is let go, and others are served meanwhile.
// The times are httpd's, a hundredth of each.
func TestSlowClientsAreLetGo(t *testing.T) {
	l, err := httpd.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpd.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			return
		}
		io.WriteString(w, "ok")
	}))
	if server.ReadHeaderTimeout > 15*time.Second || server.ReadTimeout > 15*time.Second ||
		server.WriteTimeout > time.Minute || server.IdleTimeout > time.Minute || server.ReadHeaderTimeout == 0 {
		t.Errorf("the times are %v, %v, %v, %v", server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout,
			server.IdleTimeout)
	}
	server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout,
		server.IdleTimeout = server.ReadHeaderTimeout/100, server.ReadTimeout/100, server.WriteTimeout/100,
		server.IdleTimeout/100
	go server.Serve(l)
	defer server.Close()
	closed := make(chan string, 150)
	slow := func(name, says string) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			closed <- name
			return
		}
		defer conn.Close()
		io.WriteString(conn, says)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: not closed: %v", name, err)
		}
		closed <- name
	}
	for range 50 {
		go slow("half a head", "POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		go slow("half a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
		go slow("nothing more", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	began := time.Now()
	response, err := http.Get("http://" + l.Addr().String())
	if err != nil || time.Since(began) > time.Second {
		t.Fatalf("a good request meanwhile: %v after %v", err, time.Since(began))
	}
	response.Body.Close()
	for range 150 {
		<-closed
	}
}

// DS-06, DS-07: a head is bounded, and HTTP/2 is not spoken in the clear, where nobody asked for
// it: its floods end at the proxy.
func TestHeadsAreBounded(t *testing.T) {
	l, err := httpd.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpd.Server(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }))
	go server.Serve(l)
	defer server.Close()
	for name, row := range map[string]struct{ says, want string }{
		"a megabyte of head": {"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + strings.Repeat("x", 1<<20), "HTTP/1.1 431"},
		// as a strange method of HTTP/1.1
		"HTTP/2": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "HTTP/1.1 "},
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(conn, row.says) // the server may close before it has read all
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		head := make([]byte, 40)
		n, _ := io.ReadAtLeast(conn, head, 12)
		conn.Close()
		if got := string(head[:n]); !strings.HasPrefix(got, row.want) {
			t.Errorf("%s: got %q, want %s", name, got, row.want)
		}
	}
}

// DS-09: whom a request is counted against cannot be chosen: not by a header, nor by one of the
// addresses that a household has so many of.
func TestSource(t *testing.T) {
	for name, row := range map[string]struct {
		from, forwarded, want string
	}{
		"an address":              {"198.51.100.7:1", "", "198.51.100.7"},
		"with a header of theirs": {"198.51.100.7:1", "203.0.113.9", "198.51.100.7"},
		"IPv6":                    {"[2001:db8:1:2:3::1]:1", "", "2001:db8:1:2::/64"},
		"the same house":          {"[2001:db8:1:2:ffff:ffff:ffff:ffff]:1", "", "2001:db8:1:2::/64"},
		"IPv4 in IPv6":            {"[::ffff:198.51.100.7]:1", "", "198.51.100.7"},
	} {
		got := ""
		visit(func(_ http.ResponseWriter, r *http.Request) { got = httpd.Source(r.Context()) }, httpd.Options{},
			func(r *http.Request) {
				r.RemoteAddr = row.from
				r.Header.Set("X-Forwarded-For", row.forwarded)
				r.Header.Del("User-Agent")
			})
		if got != row.want {
			t.Errorf("%s: got %s, want %s", name, got, row.want)
		}
	}
}
