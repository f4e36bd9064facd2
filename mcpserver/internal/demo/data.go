package demo

import (
	"context"
	"fmt"
)

var demoCustomers = []struct{ tenant, id, name, email string }{
	{"acme", "cus_acme_1001", "Road Runner Logistics", "dispatch@roadrunner.example"},
	{"acme", "cus_acme_1002", "Wile E. Coyote", "wile@coyote.example"},
	{"acme", "cus_acme_1003", "Mesa Hardware", "orders@mesahardware.example"},
	{"acme", "cus_acme_1004", "Granny's Bakery", "granny@bakery.example"},
	{"globex", "cus_globex_2001", "Springfield Power", "plant@springfield.example"},
	{"globex", "cus_globex_2002", "Cypress Creek School", "office@cypresscreek.example"},
	{"globex", "cus_globex_2003", "Hank Scorpio", "hank@globex.example"},
}

var demoArticles = []struct{ tenant, id, title, body string }{
	{"acme", "art_acme_1", "Returning a rocket sled",
		"Rocket sleds can be returned within 30 days if the fuse is unlit. Pack the sled with the nozzle down and " +
			"open a ticket for the return label."},
	{"acme", "art_acme_2", "Refunds for anvils",
		"Anvils are refunded by weight. Weigh the anvil before you drop it, and send us the weight with the order " +
			"number."},
	{"acme", "art_acme_3", "Why did my invisible paint not arrive?",
		"It may have. Feel around the doorstep before you ask for a refund."},
	{"acme", "art_acme_4", "Changing a delivery address",
		"An address can be changed until the parcel has left the warehouse. Update the customer's e-mail first, so " +
			"that the confirmation arrives."},
	{"globex", "art_globex_1", "Requesting a hammock",
		"Hammocks are ordered through the Hammock District. Delivery takes two working days."},
	{"globex", "art_globex_2", "Relocation refunds",
		"Moving costs are refunded after the first month. Send the receipts to the relocation desk."},
	{"globex", "art_globex_3", "Password for the project vault",
		"There is none. Ask the project's owner to let you in."},
}

// SeedDemo inserts the demo's customers and articles for acme and globex. Existing ones stay, so
// that an interrupted call is completed by the next.
func (d *DB) SeedDemo(ctx context.Context) error {
	none := func(scan) error { return nil }
	for _, c := range demoCustomers {
		_, err := d.For(c.tenant).each(ctx,
			"INSERT INTO customers (tenant_id, id, name, email, updated_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT "+
				"DO NOTHING",
			[]any{c.tenant, c.id, c.name, c.email, d.now().Unix()}, none)
		if err != nil {
			return fmt.Errorf("seeding demo customers: %w", err)
		}
	}
	for _, a := range demoArticles {
		_, err := d.For(a.tenant).each(ctx,
			"INSERT INTO articles (tenant_id, id, title, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			[]any{a.tenant, a.id, a.title, a.body}, none)
		if err != nil {
			return fmt.Errorf("seeding demo articles: %w", err)
		}
	}
	return nil
}
