package stdio

import (
	"strconv"
	"testing"
	"time"
)

// A program that answers and ends has answered, also when the caller was being told of its progress
// meanwhile.
func TestTheLastAnswerOfAProgramCounts(t *testing.T) {
	for range 50 {
		x := &process{
			pool: New(Config{}), lines: make(chan []byte, mostLines), ended: make(chan struct{}),
			pending: map[int64]*pending{}, tokens: map[string]*pending{}, dropped: map[string]bool{},
		}
		tells, told := make(chan struct{}), []string{}
		who := &pending{token: "t", told: func(about []byte) {
			if told = append(told, string(about)); len(told) == 1 {
				<-tells
			}
		}}
		go func() {
			defer close(tells)
			<-x.lines
			for i := range 3 {
				x.report([]byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t",` +
					`"progress":` + strconv.Itoa(i) + `}}`))
			}
			x.deliver([]byte("1"), []byte(`{"jsonrpc":"2.0","id":1,"result":{}}`))
			close(x.ended)
		}()
		answer := make(chan error, 1)
		go func() {
			r, err := x.ask(t.Context(), "tools/call", nil, who)
			if err == nil && string(r.result) != "{}" {
				t.Errorf("got %s", r.result)
			}
			answer <- err
		}()
		select {
		case err := <-answer:
			if err != nil || len(told) != 3 {
				t.Fatalf("got %v after %d tellings", err, len(told))
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing comes")
		}
	}
}
