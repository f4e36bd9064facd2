package message_test

import (
	"bytes"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// BenchmarkEvents is one event of 1 MiB and of 8, in the pieces in which an answer comes: a byte of
// the larger costs what one of the smaller does.
func BenchmarkEvents(b *testing.B) {
	for name, size := range map[string]int{"1MiB": 1 << 20, "8MiB": 8<<20 - 100} {
		b.Run(name, func(b *testing.B) {
			event := append(append([]byte(`data: {"x":"`), bytes.Repeat([]byte("x"), size)...), "\"}\n\n"...)
			b.SetBytes(int64(len(event)))
			for b.Loop() {
				f := message.Events{Cut: func(raw []byte) ([]byte, bool) { return raw, false }}
				for left := event; len(left) > 0; left = left[min(len(left), 16<<10):] {
					if _, err := f.Take(left[:min(len(left), 16<<10)]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
