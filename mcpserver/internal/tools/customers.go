package tools

import (
	"context"
	"encoding/json"
	"net/mail"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/crm"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

const (
	maxID    = 64
	maxName  = 200
	maxEmail = 254
)

const customerSchema = `{"type":"object","properties":{"id":{"type":"string"},"name":{"type":"string"},"email":{"type":"string"}},"required":["id","name","email"],"additionalProperties":false}`

func readCustomer(d *crm.DB) mcp.Tool {
	return mcp.Tool{
		Name: "read_customer", Title: "Read a customer", Scope: ReadCustomers, ReadOnly: true, Idempotent: true,
		Description:  "Returns the id, name and e-mail address of one customer of your organisation.",
		InputSchema:  json.RawMessage(`{"type":"object","properties":{"customer_id":{"type":"string","minLength":1,"maxLength":64,"description":"The customer's id, e.g. cus_acme_1001"}},"required":["customer_id"],"additionalProperties":false}`),
		OutputSchema: json.RawMessage(customerSchema),
		Bind: func(c mcp.Caller) mcp.Handler {
			customers := d.For(c.TenantID)
			return func(ctx context.Context, arguments json.RawMessage) (mcp.Result, error) {
				var in struct {
					CustomerID string `json:"customer_id"`
				}
				if err := decode(arguments, &in); err != nil {
					return mcp.Result{}, err
				}
				if err := text("customer_id", in.CustomerID, 1, maxID); err != nil {
					return mcp.Result{}, err
				}
				found, err := customers.Customer(ctx, in.CustomerID)
				if err != nil {
					return mcp.Result{}, explain(err)
				}
				return structured(found)
			}
		},
	}
}

func updateCustomer(d *crm.DB) mcp.Tool {
	return mcp.Tool{
		Name: "update_customer", Title: "Change a customer", Scope: WriteCustomers, Destructive: true, Idempotent: true,
		Description:  "Changes the name or the e-mail address of one customer of your organisation, and returns the customer as it then is. Name at least one of them.",
		InputSchema:  json.RawMessage(`{"type":"object","properties":{"customer_id":{"type":"string","minLength":1,"maxLength":64,"description":"The customer's id, e.g. cus_acme_1001"},"name":{"type":"string","minLength":1,"maxLength":200,"description":"The new name"},"email":{"type":"string","minLength":3,"maxLength":254,"description":"The new e-mail address"}},"required":["customer_id"],"additionalProperties":false}`),
		OutputSchema: json.RawMessage(customerSchema),
		Bind: func(c mcp.Caller) mcp.Handler {
			customers := d.For(c.TenantID)
			return func(ctx context.Context, arguments json.RawMessage) (mcp.Result, error) {
				change, err := readChange(arguments)
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

func readChange(arguments json.RawMessage) (crm.Customer, error) {
	var in struct {
		CustomerID string  `json:"customer_id"`
		Name       *string `json:"name"`
		Email      *string `json:"email"`
	}
	if err := decode(arguments, &in); err != nil {
		return crm.Customer{}, err
	}
	out := crm.Customer{ID: in.CustomerID}
	if err := text("customer_id", in.CustomerID, 1, maxID); err != nil {
		return out, err
	}
	if in.Name == nil && in.Email == nil {
		return out, invalid("name what is to be changed: name, email or both")
	}
	if in.Name != nil {
		if err := text("name", *in.Name, 1, maxName); err != nil {
			return out, err
		}
		out.Name = strings.TrimSpace(*in.Name)
		if out.Name == "" {
			return out, invalid("argument name is blank")
		}
	}
	if in.Email != nil {
		if err := text("email", *in.Email, 3, maxEmail); err != nil {
			return out, err
		}
		if a, err := mail.ParseAddress(*in.Email); err != nil || a.Address != *in.Email {
			return out, invalid("argument email is not an e-mail address")
		}
		out.Email = *in.Email
	}
	return out, nil
}
