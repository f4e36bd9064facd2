package chain_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

func event() audit.Event {
	return audit.Event{
		Time: time.Unix(1_900_000_000, 0), Actor: "user:ann", Action: "grant.revoke", Target: "grt_1", Tenant: "acme",
		Client: "cli_1", Grant: "grt_1",
		Outcome: audit.OK, Detail: "lost",
	}
}

// C9: a mutant whose hash left out the content of a record lived. Every column, the number and the
// record before are in the hash.
func TestHashHoldsAllOfARecord(t *testing.T) {
	var begin [sha256.Size]byte
	whole := chain.Follow(begin, 7, chain.Row(event()))
	seen := map[string]string{hex.EncodeToString(whole[:]): "the record"}
	differs := func(what string, sum [sha256.Size]byte) {
		t.Helper()
		key := hex.EncodeToString(sum[:])
		if other, there := seen[key]; there {
			t.Errorf("%s has the hash of %s", what, other)
		}
		seen[key] = what
	}
	for i := range chain.Row(event()) {
		row := chain.Row(event())
		switch v := row[i].(type) {
		case int64:
			row[i] = v + 1
		case string:
			row[i] = v + "x"
		}
		differs(fmt.Sprintf("another column %d", i), chain.Follow(begin, 7, row))
	}
	differs("another number", chain.Follow(begin, 8, chain.Row(event())))
	differs("another record before", chain.Follow(whole, 7, chain.Row(event())))
}

// What stands in one column cannot be read as the end of it and the beginning of the next.
func TestNoTextMovesIntoAnotherColumn(t *testing.T) {
	var begin [sha256.Size]byte
	one, other := event(), event()
	one.Tenant, one.Client = "acme\nevil", "cli_1"
	other.Tenant, other.Client = "acme", "evil\ncli_1"
	if chain.Follow(begin, 1, chain.Row(one)) == chain.Follow(begin, 1, chain.Row(other)) {
		t.Error("two records have one hash")
	}
	for i, column := range chain.Row(one) {
		if text, ok := column.(string); ok && strings.ContainsAny(text, "\n\r\x00") {
			t.Errorf("column %d holds a control character: %q", i, text)
		}
	}
}
