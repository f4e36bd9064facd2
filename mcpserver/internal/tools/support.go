package tools

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

const (
	maxSubject  = 200
	maxBody     = 10_000
	maxQuestion = 500
	usualHits   = 5
)

func createTicket(d *demo.DB) mcp.Tool {
	return mcp.Tool{
		Name: "create_ticket", Title: "Open a support ticket", Scope: WriteTickets,
		Description: "Opens a support ticket about one customer of your organisation, and returns the ticket's id.",
		InputSchema: json.RawMessage(
			`{"type":"object","properties":{"customer_id":{"type":"string","minLength":1,"maxLength":64,` +
				`"description":"The id of the customer whom it is about"},"subject":{"type":"string","minLength":1,` +
				`"maxLength":200,"description":"What it is about, in a line"},"body":{"type":"string",` +
				`"maxLength":10000,"description":"The whole story"}},"required":["customer_id","subject"],` +
				`"additionalProperties":false}`),
		OutputSchema: json.RawMessage(
			`{"type":"object","properties":{"id":{"type":"string"},"customer_id":{"type":"string"},` +
				`"subject":{"type":"string"},"body":{"type":"string"}},"required":["id","customer_id","subject",` +
				`"body"],"additionalProperties":false}`),
		Bind: func(c mcp.Caller) mcp.Handler {
			tickets, by := d.For(c.TenantID), c.Subject
			return func(ctx context.Context, raw json.RawMessage) (mcp.Result, error) {
				var k demo.Ticket
				in, err := read(raw)
				if err != nil {
					return mcp.Result{}, err
				}
				for _, err := range []error{in.text("customer_id", 1, maxID, &k.CustomerID),
					in.text("subject", 1, maxSubject, &k.Subject), in.text("body", 0, maxBody, &k.Body)} {
					if err != nil {
						return mcp.Result{}, err
					}
				}
				k.ID, k.OpenedBy = "tic_"+strings.ToLower(rand.Text()), by
				if err := tickets.Open(ctx, k); err != nil {
					return mcp.Result{}, explain(err)
				}
				return structured(k)
			}
		},
	}
}

func searchKnowledgeBase(d *demo.DB) mcp.Tool {
	return mcp.Tool{
		Name: "search_knowledge_base", Title: "Search the knowledge base", Scope: ReadKnowledge, ReadOnly: true,
		Idempotent:  true,
		Description: "Searches your organisation's articles for words and returns the best ones, best first.",
		InputSchema: json.RawMessage(
			`{"type":"object","properties":{"query":{"type":"string","minLength":1,"maxLength":500,` +
				`"description":"Words to look for"},"limit":{"type":"integer","minimum":1,"maximum":20,"default":5,` +
				`"description":"The most articles to return"}},"required":["query"],"additionalProperties":false}`),
		OutputSchema: json.RawMessage(
			`{"type":"object","properties":{"articles":{"type":"array","items":{"type":"object",` +
				`"properties":{"id":{"type":"string"},"title":{"type":"string"},"body":{"type":"string"}},` +
				`"required":["id","title","body"],"additionalProperties":false}}},"required":["articles"],` +
				`"additionalProperties":false}`),
		Bind: func(c mcp.Caller) mcp.Handler {
			articles := d.For(c.TenantID)
			return func(ctx context.Context, raw json.RawMessage) (mcp.Result, error) {
				in, err := read(raw)
				if err != nil {
					return mcp.Result{}, err
				}
				var query string
				if err := in.text("query", 1, maxQuestion, &query); err != nil {
					return mcp.Result{}, err
				}
				limit := usualHits
				if v := in.value("limit"); v != nil && strictjson.Unmarshal(v, &limit) != nil {
					return mcp.Result{}, invalid("argument limit must be an integer")
				}
				if limit < 1 || limit > demo.MaxArticles {
					return mcp.Result{}, invalid("argument limit must be from 1 to 20")
				}
				found, err := articles.Search(ctx, query, limit)
				if err != nil {
					return mcp.Result{}, err
				}
				return structured(struct {
					Articles []demo.Article `json:"articles"`
				}{found})
			}
		},
	}
}
