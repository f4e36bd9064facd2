module github.com/gatehouse-mcp/gatehouse/migrations

go 1.26.0
