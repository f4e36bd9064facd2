package stdio

import (
	"bytes"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// How much of a request's progress waits for a caller that does not keep up, and how large one may
// be, in bytes.
const (
	mostProgress  = 8
	largeProgress = 16 << 10
)

// report gives what the process tells of progress to the one request whose token it has. All else
// goes to nobody.
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
				case <-w.progress: // the oldest makes room
				default:
				}
			}
		}
	}
	x.mu.Unlock()
	if w == nil {
		x.drop("progress that nobody asked for")
	}
}

func isNumber(v []byte) bool { return len(v) > 0 && bytes.IndexByte([]byte("-0123456789"), v[0]) >= 0 }
