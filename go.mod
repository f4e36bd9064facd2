module github.com/gatehouse-mcp/gatehouse

go 1.26.0

require github.com/gatehouse-mcp/gatehouse/authserver v0.0.0

require github.com/gatehouse-mcp/gatehouse/mcpserver v0.0.0

require github.com/gatehouse-mcp/gatehouse/migrations v0.0.0

require github.com/gatehouse-mcp/gatehouse/shared v0.0.0

require github.com/gatehouse-mcp/gatehouse/web v0.0.0

require (
	github.com/BurntSushi/toml v1.4.1-0.20240526193622-a339e1f7089c // indirect
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/chromedp/chromedp v0.23.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/modelcontextprotocol/go-sdk v1.8.0 // indirect
	github.com/rogpeppe/go-internal v1.16.0 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/tools v0.52.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)

replace github.com/gatehouse-mcp/gatehouse/authserver => ./authserver

replace github.com/gatehouse-mcp/gatehouse/mcpserver => ./mcpserver

replace github.com/gatehouse-mcp/gatehouse/migrations => ./migrations

replace github.com/gatehouse-mcp/gatehouse/shared => ./shared

replace github.com/gatehouse-mcp/gatehouse/web => ./web

tool honnef.co/go/tools/cmd/staticcheck
