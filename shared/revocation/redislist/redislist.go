// Package redislist implements revocation.List as a stream in Redis, which resource servers follow.
package redislist

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// List is a revocation.List that replicas share: one stream, whose entries are ends, and marks of
// the issuer's that everything the ledger knows stands before them. A stream loses nothing that
// somebody has not read yet, and who has read an entry can tell whether the stream is still the one
// that had it: emptied, evicted, trimmed too far or behind after a fail-over, it has not, and is
// read anew.
//
// It needs Redis 6.2. Reading takes XRANGE, XREVRANGE and TIME alone.
type List struct {
	client redis.UniversalClient
	key    string
	now    func() time.Time
	script *redis.Script

	mu      sync.Mutex       // serializes restoring
	cursor  string           // how far this process has read
	written map[string]int64 // what it has read: grant id to until, in Unix milliseconds
}

// appendScript adds entries if entry ARGV[1] still exists with value ARGV[2], and finally a mark,
// and trims what is too old by Redis's clock.
const appendScript = `
if ARGV[1] ~= '' then
  local e = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
  if not e or e[2][2] .. ' ' .. e[2][4] ~= ARGV[2] then return false end
end
local last
for i = 5, #ARGV, 2 do last = redis.call('XADD', KEYS[1], '*', ARGV[3], ARGV[i], ARGV[4], ARGV[i + 1]) end
if ARGV[3] == 'complete' then
  redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%%.0f000', redis.call('TIME')[1] - %d))
end
return last`

// longest is how far ahead an entry may reach. Older entries of the stream no longer matter.
const longest = 2 * time.Hour

// chunk bounds the entries of one script, so that Redis serves others in between.
const chunk = 500

// New returns a List on a connection; prefix begins its key. now may be nil: time.Now.
func New(client redis.UniversalClient, prefix string, now func() time.Time) *List {
	if now == nil {
		now = time.Now
	}
	return &List{client: client, key: prefix + "ended", now: now,
		script: redis.NewScript(fmt.Sprintf(appendScript, int(longest.Seconds()))), written: map[string]int64{}}
}

// Add implements revocation.List.
func (l *List) Add(ctx context.Context, grantID string, until time.Time) error {
	switch left := until.Sub(l.now()); {
	case left <= 0:
		return nil
	case left > longest:
		return fmt.Errorf("writing the list of ended grants: %s is longer than the list remembers", left)
	}
	values := []string{"grant", grantID, "until", strconv.FormatInt(until.UnixMilli(), 10)}
	if err := l.client.XAdd(ctx, &redis.XAddArgs{Stream: l.key, Values: values}).Err(); err != nil {
		return fmt.Errorf("writing the list of ended grants: %w", err)
	}
	return nil
}

// entry is a stream entry with its value: an id alone could occur again in a new stream.
type entry struct {
	id, says string
}

// place is how far the stream was read.
type place struct {
	last  entry
	mark  string // id of the last mark, which is valid for life milliseconds from its writing
	life  int64
	floor string // after a loss: marks up to here do not cover what was lost
}

func (p place) String() string {
	return strings.Join([]string{p.last.id, p.last.says, p.mark, strconv.FormatInt(p.life, 10), p.floor}, ",")
}

// readPlace parses a cursor; one that is not of this stream is the beginning.
func readPlace(cursor string) place {
	f := strings.Split(cursor, ",")
	if len(f) != 5 {
		return place{}
	}
	life, err := strconv.ParseInt(f[3], 10, 64)
	for _, id := range []string{f[0], f[2], f[4]} {
		if _, ok := readID(id); !ok && id != "" || err != nil {
			return place{}
		}
	}
	return place{entry{f[0], f[1]}, f[2], life, f[4]}
}

// read parses a message of the stream: a revocation, a mark, or the first entry.
func read(m redis.XMessage) (e entry, name, first, second string) {
	for name, other := range map[string]string{"grant": "until", "complete": "word", "begun": "word"} {
		if first, ok := m.Values[name].(string); ok {
			second, _ := m.Values[other].(string)
			return entry{m.ID, first + " " + second}, name, first, second
		}
	}
	return entry{id: m.ID}, "", "", ""
}

// readID parses a stream entry's id: milliseconds and a number.
func readID(id string) (parts [2]uint64, ok bool) {
	ms, number, ok := strings.Cut(id, "-")
	var err1, err2 error
	parts[0], err1 = strconv.ParseUint(ms, 10, 64)
	parts[1], err2 = strconv.ParseUint(number, 10, 64)
	return parts, ok && err1 == nil && err2 == nil
}

// after reports whether an entry's id is greater than another; any is after none.
func after(id, other string) bool {
	a, _ := readID(id)
	b, _ := readID(other)
	return slices.Compare(a[:], b[:]) > 0
}

// Next implements revocation.Feed.
func (l *List) Next(ctx context.Context, cursor string) (revocation.Batch, error) {
	p := readPlace(cursor)
	news, now, err := l.read(ctx, p.last.id)
	if err == nil && p.last.id != "" && !begins(news, p.last) {
		// The entry is gone, and others that were not read may be too. Later marks cover the stream
		// as it is; existing ones may be from before the loss.
		if p, err = l.begin(ctx); err == nil {
			news, now, err = l.read(ctx, "")
		}
	}
	if err != nil {
		return revocation.Batch{}, errors.Join(revocation.ErrUnknown, err)
	}
	b := revocation.Batch{Whole: p.last.id == "", Now: now}
	if p.last.id != "" {
		news = news[1:]
	}
	b.More = len(news) >= revocation.MaxBatch
	for _, m := range news {
		e, name, first, second := read(m)
		p.last = e
		switch number, err := strconv.ParseInt(second, 10, 64); {
		case name == "grant" && err == nil:
			b.Ended = append(b.Ended, revocation.Entry{GrantID: first, Until: time.UnixMilli(number)})
		case name == "complete" && after(m.ID, p.floor):
			p.mark = m.ID
			p.life, _ = strconv.ParseInt(first, 10, 64)
		}
	}
	if made, ok := readID(p.mark); ok {
		b.Mark = p.mark
		b.Life = time.Duration(p.life)*time.Millisecond - max(0, now.Sub(time.UnixMilli(int64(made[0]))))
	}
	b.Cursor = p.String()
	return b, nil
}

// begins reports whether the first message is this entry.
func begins(news []redis.XMessage, last entry) bool {
	if len(news) == 0 {
		return false
	}
	first, _, _, _ := read(news[0])
	return first == last
}

// begin returns the beginning of the stream, after a loss.
func (l *List) begin(ctx context.Context) (place, error) {
	newest, err := l.client.XRevRangeN(ctx, l.key, "+", "-", 1).Result()
	if err != nil || len(newest) == 0 {
		return place{}, err
	}
	return place{floor: newest[0].ID}, nil
}

// read reads the stream from an entry on, that entry included, and Redis's time.
func (l *List) read(ctx context.Context, from string) ([]redis.XMessage, time.Time, error) {
	count := int64(revocation.MaxBatch + 1)
	if from == "" {
		from, count = "-", revocation.MaxBatch
	}
	pipe := l.client.Pipeline()
	messages, now := pipe.XRangeN(ctx, l.key, from, "+", count), pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, time.Time{}, fmt.Errorf("reading the list of ended grants: %w", err)
	}
	return messages.Val(), now.Val(), nil
}

// errMoved says that the stream is no longer the one that was read.
var errMoved = errors.New("the list of ended grants was lost while it was written")

// Restore implements revocation.List. It writes what is missing, and the mark last; each step only
// while the one before is still there, so that a Redis which is emptied in the middle has no mark.
func (l *List) Restore(ctx context.Context, ledger func(context.Context) (map[string]time.Time, error),
	life time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for range 3 {
		if err = l.restore(ctx, ledger, life); !errors.Is(err, errMoved) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("restoring the list of ended grants: %w", err)
	}
	return nil
}

func (l *List) restore(ctx context.Context, ledger func(context.Context) (map[string]time.Time, error),
	life time.Duration) error {
	if err := l.catchUp(ctx); err != nil {
		return err
	}
	last := readPlace(l.cursor).last
	var err error
	if last.id == "" { // an empty stream gets a first entry that identifies it
		if last, err = l.append(ctx, last, "begun", "word", "1", rand.Text()); err != nil {
			return err
		}
	}
	known, err := revocation.Sorted(ctx, ledger)
	if err != nil {
		return err
	}
	now := l.now()
	var missing []string
	for _, e := range known {
		if e.Until.After(now) && e.Until.UnixMilli() > l.written[e.GrantID] {
			missing = append(missing, e.GrantID, strconv.FormatInt(e.Until.UnixMilli(), 10))
		}
	}
	for some := range slices.Chunk(missing, 2*chunk) {
		if last, err = l.append(ctx, last, "grant", "until", some...); err != nil {
			return err
		}
	}
	_, err = l.append(ctx, last, "complete", "word", strconv.FormatInt(life.Milliseconds(), 10), rand.Text())
	return err
}

// catchUp reads what was added.
func (l *List) catchUp(ctx context.Context) error {
	now := l.now().UnixMilli()
	for id, until := range l.written {
		if until <= now {
			delete(l.written, id)
		}
	}
	for more := true; more; {
		b, err := l.Next(ctx, l.cursor)
		if err != nil {
			return err
		}
		if b.Whole {
			clear(l.written)
		}
		for _, e := range b.Ended {
			l.written[e.GrantID] = max(l.written[e.GrantID], e.Until.UnixMilli())
		}
		l.cursor, more = b.Cursor, b.More
	}
	return nil
}

// append adds entries of two fields each, after the one that must still exist, and returns the
// last.
func (l *List) append(ctx context.Context, after entry, name, other string, values ...string) (entry, error) {
	args := []any{after.id, after.says, name, other}
	for _, v := range values {
		args = append(args, v)
	}
	id, err := l.script.Run(ctx, l.client, []string{l.key}, args...).Text()
	if errors.Is(err, redis.Nil) {
		return entry{}, errMoved
	}
	return entry{id, strings.Join(values[len(values)-2:], " ")}, err
}
