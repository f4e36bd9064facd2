package httpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server returns an http.Server with timeouts for every wait.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
}

// Listen opens a TCP listener. The error names the address.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return l, nil
}

// Door is a server and its listener.
type Door struct {
	Server   *http.Server
	Listener net.Listener
}

// Stop says how a server stops.
type Stop struct {
	// Delay is how long connections are still accepted after /readyz began to answer 503, so that a
	// proxy sends its requests elsewhere first.
	Delay time.Duration
	// Drain is how long requests in flight may then take; longer ones are cut off.
	Drain time.Duration
}

// The defaults of Stop. The delay is for a server behind a proxy or one of several replicas.
const (
	DefaultDelay = 2 * time.Second
	DefaultDrain = 10 * time.Second
)

// NewStop returns the Stop for a delay; a negative one is the default. shared says that there is a
// proxy before the server, or that other replicas share its stores.
func NewStop(delay time.Duration, shared bool) Stop {
	s := Stop{Delay: delay, Drain: DefaultDrain}
	if delay < 0 {
		s.Delay = 0
		if shared {
			s.Delay = DefaultDelay
		}
	}
	return s
}

// Run serves until ctx ends or a server fails. When ctx ends, GET /readyz answers 503 at once and
// connections are closed after their response; after stop.Delay no connection is accepted, and
// requests in flight are finished within stop.Drain or cut off, which is no error. The functions
// behind begin before the servers and are told to end after the last request, because a list of
// revoked grants that is not restored cannot be used. Run returns the error of the server that
// failed, when all has ended.
func Run(ctx context.Context, doors []Door, stop Stop, behind ...func(context.Context)) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	for _, do := range behind {
		working.Go(func() { do(work) })
	}
	defer working.Wait()
	defer end()
	broken, breakOff := context.WithCancel(ctx)
	defer breakOff()
	errs := make([]error, 2*len(doors))
	var stopping atomic.Bool
	var serving, closing sync.WaitGroup
	for i, d := range doors {
		d.Server.Handler = whileStopping(&stopping, d.Server.Handler)
		serving.Go(func() {
			defer breakOff() // when one fails, all stop
			if err := d.Server.Serve(d.Listener); !errors.Is(err, http.ErrServerClosed) {
				errs[2*i] = fmt.Errorf("serving %s: %w", d.Listener.Addr(), err)
			}
		})
	}
	<-broken.Done()
	stopping.Store(true)
	if ctx.Err() != nil && stop.Delay > 0 {
		time.Sleep(stop.Delay)
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), stop.Drain)
	defer cancel()
	for i, d := range doors {
		closing.Go(func() {
			err := d.Server.Shutdown(deadline)
			if errors.Is(err, context.DeadlineExceeded) {
				err = d.Server.Close()
			}
			if err != nil {
				errs[2*i+1] = fmt.Errorf("closing %s: %w", d.Listener.Addr(), err)
			}
		})
	}
	closing.Wait()
	serving.Wait()
	return errors.Join(errs...)
}

// whileStopping answers /readyz once the server stops, and closes connections after their next
// response.
func whileStopping(stopping *atomic.Bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !stopping.Load() {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close")
		if r.URL.Path == "/readyz" {
			WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "stopping"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
