package revocation_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation/redislist"
)

// most is a list as long as it may get in a bad hour.
const most = 100_000

func manyEnded() map[string]time.Time {
	ended := map[string]time.Time{}
	until := time.Now().Add(time.Hour)
	for i := range most {
		ended[fmt.Sprintf("grt_%026d", i)] = until.Add(time.Duration(i) * time.Millisecond)
	}
	return ended
}

// BenchmarkEnded is the question of every request, with 100,000 grants on the list: a replica's
// memory, and beside it a look into Redis, which has to be asked for a key and a mark.
func BenchmarkEnded(b *testing.B) {
	l := revocation.NewMemory(nil)
	must(b, l.Restore(ctx, ledger(manyEnded()), time.Hour))
	r := revocation.NewReplica(revocation.ReplicaOptions{Feed: l, StaleAfter: time.Hour})
	must(b, r.CatchUp(ctx))
	id := fmt.Sprintf("grt_%026d", most+1)
	for name, reader := range map[string]revocation.Reader{"replica": r, "memory": l} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if ended, err := reader.Ended(ctx, id); ended || err != nil {
						b.Fatal(ended, err)
					}
				}
			})
		})
	}
	b.Run("redis", func(b *testing.B) {
		client, prefix := openRedis(b)
		must(b, client.Set(ctx, prefix+"mark", "1", time.Hour).Err())
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if v, err := client.MGet(ctx, prefix+id, prefix+"mark").Result(); err != nil || v[0] != nil ||
					v[1] == nil {
					b.Fatal(v, err)
				}
			}
		})
	})
}

// A question allocates nothing.
func TestEndedAllocatesNothing(t *testing.T) {
	l := revocation.NewMemory(nil)
	must(t, l.Restore(ctx, ledger(map[string]time.Time{"grt_a": time.Now().Add(time.Hour)}), time.Hour))
	r := revocation.NewReplica(revocation.ReplicaOptions{Feed: l})
	must(t, r.CatchUp(ctx))
	for _, reader := range []revocation.Reader{r, l} {
		for _, id := range []string{"grt_a", "grt_b"} {
			if n := testing.AllocsPerRun(100, func() { _, _ = reader.Ended(ctx, id) }); n != 0 {
				t.Errorf("%T: %v allocations", reader, n)
			}
		}
	}
}

// A list of 100,000 ended grants, through real Redis: how long a replica needs for it at its start,
// how long the issuer for looking it through, and how much memory.
func TestALongList(t *testing.T) {
	client, prefix := openRedis(t)
	l := redislist.New(client, prefix, nil)
	ended := manyEnded()
	write := elapsed(func() { must(t, l.Restore(ctx, ledger(ended), time.Minute)) })
	again := elapsed(func() { must(t, l.Restore(ctx, ledger(ended), time.Minute)) })
	again = min(again, elapsed(func() { must(t, l.Restore(ctx, ledger(ended), time.Minute)) }))
	before := heap()
	r := revocation.NewReplica(revocation.ReplicaOptions{Feed: redislist.New(client, prefix, nil)})
	read := elapsed(func() { must(t, r.CatchUp(ctx)) })
	size := heap() - before
	news := elapsed(func() { must(t, r.CatchUp(ctx)) })
	stream, err := client.Do(ctx, "MEMORY", "USAGE", prefix+"ended").Int64()
	must(t, err)
	t.Logf("100,000 ended grants: written in %s, looked through in %s; read by a replica in %s, asked for news in "+
		"%s; %.1f MB in a replica, %.1f MB in Redis",
		write.Round(time.Millisecond), again.Round(time.Millisecond), read.Round(time.Millisecond),
		news.Round(time.Microsecond), float64(size)/1e6, float64(stream)/1e6)
	if r.Size() != most || size > 32e6 || read > 20*time.Second {
		t.Errorf("got %d grants in %d bytes after %s", r.Size(), size, read)
	}
	want(t, r, map[string]bool{fmt.Sprintf("grt_%026d", 0): true, fmt.Sprintf("grt_%026d", most-1): true,
		fmt.Sprintf("grt_%026d", most): false})
}

func elapsed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
