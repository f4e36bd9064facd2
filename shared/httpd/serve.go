package httpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is an http.Server whose every wait has an end (DS-03, DS-07).
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

// Door is a server and where it listens.
type Door struct {
	Server   *http.Server
	Listener net.Listener
}

// Run serves all doors until ctx ends or one of them breaks, then lets requests under way finish, for drain at most; what takes longer is cut off,
// which is no error: a stranger must not decide how we end. What goes on behind the doors is begun before them and told to end after the last request: a
// list of ended grants that nobody restores is worth nothing. It returns the error of a door that broke, when all has ended.
func Run(ctx context.Context, doors []Door, drain time.Duration, behind ...func(context.Context)) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	for _, do := range behind {
		working.Go(func() { do(work) })
	}
	defer working.Wait()
	defer end()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, 2*len(doors))
	var serving, closing sync.WaitGroup
	for i, d := range doors {
		serving.Go(func() {
			defer stop() // one broken door closes the house
			if err := d.Server.Serve(d.Listener); !errors.Is(err, http.ErrServerClosed) {
				errs[2*i] = fmt.Errorf("serving %s: %w", d.Listener.Addr(), err)
			}
		})
	}
	<-ctx.Done()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
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
