package tools

import (
	"context"
	"encoding/json"
	"net/mail"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

const (
	maxID    = 64
	maxName  = 200
	maxEmail = 254
)

const customerSchema = `{"type":"object","properties":{"id":{"type":"string"},"name":{"type":"string"},` +
	`"email":{"type":"string"}},"required":["id","name","email"],"additionalProperties":false}`

func readCustomer(d *demo.DB) mcp.Tool {
	return mcp.Tool{
		Name: "read_customer", Title: "Read a customer", Scope: ReadCustomers, ReadOnly: true, Idempotent: true,
		Description: "Returns the id, name and e-mail address of one customer of your organisation.",
		InputSchema: json.RawMessage(
			`{"type":"object","properties":{"customer_id":{"type":"string","minLength":1,"maxLength":64,` +
				`"description":"The customer's id, e.g. cus_acme_1001"}},"required":["customer_id"],` +
				`"additionalProperties":false}`),
		OutputSchema: json.RawMessage(customerSchema),
		Bind: func(c mcp.Caller) mcp.Handler {
			customers := d.For(c.TenantID)
			return func(ctx context.Context, raw json.RawMessage) (mcp.Result, error) {
				in, err := read(raw)
				if err != nil {
					return mcp.Result{}, err
				}
				var id string
				if err := in.text("customer_id", 1, maxID, &id); err != nil {
					return mcp.Result{}, err
				}
				found, err := customers.Customer(ctx, id)
				if err != nil {
					return mcp.Result{}, explain(err)
				}
				return structured(found)
			}
		},
	}
}

func updateCustomer(d *demo.DB) mcp.Tool {
	return mcp.Tool{
		Name: "update_customer", Title: "Change a customer", Scope: WriteCustomers, Destructive: true, Idempotent: true,
		Description: "Changes the name or the e-mail address of one customer of your organisation, and returns the " +
			"customer as it then is. Name at least one of them.",
		InputSchema: json.RawMessage(
			`{"type":"object","properties":{"customer_id":{"type":"string","minLength":1,"maxLength":64,` +
				`"description":"The customer's id, e.g. cus_acme_1001"},"name":{"type":"string","minLength":1,` +
				`"maxLength":200,"description":"The new name"},"email":{"type":"string","minLength":3,` +
				`"maxLength":254,"description":"The new e-mail address"}},"required":["customer_id"],` +
				`"additionalProperties":false}`),
		OutputSchema: json.RawMessage(customerSchema),
		Bind: func(c mcp.Caller) mcp.Handler {
			customers := d.For(c.TenantID)
			return func(ctx context.Context, raw json.RawMessage) (mcp.Result, error) {
				change, err := readChange(raw)
				if err != nil {
					return mcp.Result{}, err
				}
				changed, err := customers.Update(ctx, change)
				if err != nil {
					return mcp.Result{}, explain(err)
				}
				return structured(changed)
			}
		},
	}
}

func readChange(raw json.RawMessage) (change demo.Customer, err error) {
	in, err := read(raw)
	if err != nil {
		return change, err
	}
	if err := in.text("customer_id", 1, maxID, &change.ID); err != nil {
		return change, err
	}
	name, email := in.value("name") != nil, in.value("email") != nil
	if !name && !email {
		return change, invalid("name what is to be changed: name, email or both")
	}
	if name {
		if err := in.text("name", 1, maxName, &change.Name); err != nil {
			return change, err
		}
		if change.Name = strings.TrimSpace(change.Name); change.Name == "" {
			return change, invalid("argument name is blank")
		}
	}
	if email {
		if err := in.text("email", 3, maxEmail, &change.Email); err != nil {
			return change, err
		}
		if a, err := mail.ParseAddress(change.Email); err != nil || a.Address != change.Email {
			return change, invalid("argument email is not an e-mail address")
		}
	}
	return change, nil
}
