// Command validator shows the access token on its standard input to the example of
// docs/guides/validate-tokens.md, for the test that runs it.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"os"
)

func main() {
	raw, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	c, err := verify(context.Background(), string(raw), os.Getenv("ISSUER"), os.Getenv("RESOURCE"))
	if err != nil {
		log.Fatal(err)
	}
	said := map[string]any{"subject": c.Subject, "client": c.ClientID, "tenant": c.TenantID, "scopes": c.Scopes}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		log.Fatal(err)
	}
}
