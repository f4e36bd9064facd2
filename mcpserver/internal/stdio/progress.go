package stdio

import (
	"bytes"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// The bounds of progress for a caller that reads slowly: notifications, and bytes of each.
const (
	mostProgress  = 8
	largeProgress = 16 << 10
)

// report passes progress to the one request with its token, and drops all other.
func (x *process) report(line []byte) {
	if len(line) > largeProgress {
		x.drop("progress that is too long")
		return
	}
	params, err := message.Members(message.Value(line, "params"))
	if err != nil || message.Exact(params, "progressToken", "progress", "total", "message") != nil ||
		!isNumber(message.Find(params, "progress")) {
		x.drop("progress that cannot be read")
		return
	}
	token := message.Text(message.Find(params, "progressToken"))
	about := params[:0:0]
	for _, m := range params {
		if string(m.Name) != "progressToken" {
			about = append(about, m)
		}
	}
	x.mu.Lock()
	w := x.tokens[token]
	if w != nil {
		for sent := false; !sent; {
			select {
			case w.progress <- message.Object(about):
				sent = true
			default:
				select {
				case <-w.progress: // the oldest is dropped
				default:
				}
			}
		}
	}
	x.mu.Unlock()
	if w == nil {
		x.drop("progress without a request")
	}
}

func isNumber(v []byte) bool { return len(v) > 0 && bytes.IndexByte([]byte("-0123456789"), v[0]) >= 0 }
