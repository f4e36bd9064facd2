module github.com/gatehouse-mcp/gatehouse/web

go 1.26.0
