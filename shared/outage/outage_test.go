package outage_test

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/outage"
)

func TestOneLineForManyFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := slog.New(slog.NewTextHandler(&said,
			&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
		o := outage.New(log)
		down := errors.New("connection refused")
		for range 1000 {
			o.Failed("requests", down)
		}
		o.Report("reload keys", down)
		o.Report("reload keys", nil)
		o.Report("reload keys", nil)
		time.Sleep(90 * time.Second)
		o.Failed("requests", down)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		want := []string{
			`level=ERROR msg="requests: failed" error="connection refused"`,
			`level=ERROR msg="reload keys: failed" error="connection refused"`,
			`level=INFO msg="reload keys: no longer fails" failures=1 after=0s`,
			`level=ERROR msg="requests: still fails" failures=1000 for=1m0s error="connection refused"`,
			`level=ERROR msg="requests: still fails" failures=1001 for=2m0s error="connection refused"`,
			`level=INFO msg="requests: no longer fails" failures=1001 after=3m0s`,
		}
		if got := strings.Split(strings.TrimSpace(said.String()), "\n"); !slices.Equal(got, want) {
			t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
