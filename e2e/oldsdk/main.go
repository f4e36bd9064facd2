// Command oldsdk is an MCP server of go-sdk 1.4.0, whose reader of JSON takes a name with U+0000 at
// its end for the name without (GHSA-q382-vc8q-7jhj). It is a module of its own, which go.work does
// not list: the workspace would select a newer go-sdk. Each call of a tool is a line of the file
// that -runs names.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// arguments are those of both tools.
type arguments struct {
	ID     string `json:"id,omitempty"`
	Amount int    `json:"amount,omitempty"`
	Region string `json:"region,omitempty"`
}

// run is one call, as the server read it.
type run struct {
	Tool string `json:"tool"`
	arguments
}

func main() {
	address := flag.String("http", "", "listen at this address; without it, speak on standard input and output")
	runs := flag.String("runs", "", "the file that calls are written to")
	flag.Parse()
	file, err := os.OpenFile(*runs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	var mu sync.Mutex
	server := mcp.NewServer(&mcp.Implementation{Name: "oldsdk", Version: "1"}, nil)
	for _, name := range []string{"get_note", "put_note"} {
		note := func(_ context.Context, _ *mcp.CallToolRequest, in arguments) (*mcp.CallToolResult, any, error) {
			mu.Lock()
			defer mu.Unlock()
			if err := json.NewEncoder(file).Encode(run{name, in}); err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name}}}, nil, nil
		}
		mcp.AddTool(server, &mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)}, note)
	}
	if *address == "" {
		log.Fatal(server.Run(context.Background(), &mcp.StdioTransport{}))
	}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	log.Fatal(http.ListenAndServe(*address, handler))
}
