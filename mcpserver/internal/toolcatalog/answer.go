package toolcatalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// answer is a whole answer in memory: the server is called as a handler, however it is reached.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > mostAnswer {
		return 0, fmt.Errorf("the answer is longer than %d bytes", mostAnswer)
	}
	return a.body.Write(p)
}

// Flush implements http.Flusher and does nothing.
func (a *answer) Flush() {}

// find returns the result of a request, in JSON or in a stream. left are list entries that cannot
// be read.
func (a *answer) find(id string) (result json.RawMessage, left []json.RawMessage, err error) {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	messages := [][]byte{a.body.Bytes()}
	if kind == "text/event-stream" {
		messages = data(a.body.Bytes())
	}
	for _, m := range messages {
		var e struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Result json.RawMessage `json:"result"`
			Error  *refusal        `json:"error"`
		}
		mended, without, ok := message.Mend(m)
		if ok {
			m = mended
		}
		if strictjson.Unmarshal(m, &e) != nil || e.Method != "" || e.Result == nil && e.Error == nil {
			continue
		}
		if e.Error != nil {
			return nil, nil, e.Error
		}
		if message.SameID(e.ID, json.RawMessage(id)) {
			return e.Result, without, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: it answers with the status %d", ErrNoServer, a.status)
}

// data returns the data of a stream's events.
func data(stream []byte) [][]byte {
	var all [][]byte
	var event []byte
	for line := range bytes.Lines(stream) {
		line = bytes.TrimRight(line, "\r\n")
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			event = append(append(event, bytes.TrimPrefix(value, []byte(" "))...), '\n')
		}
		if len(line) == 0 && len(event) > 0 {
			all, event = append(all, event), nil
		}
	}
	if len(event) > 0 {
		all = append(all, event)
	}
	return all
}
