package sqlstore_test

import (
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

func clientOf(id string) client.Client { return client.Client{ID: id, CreatedAt: time.Now()} }
