package e2e_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOtherPeoplesClients goes through every grant with clients that were not written for us; ann is at their browser.
func TestOtherPeoplesClients(t *testing.T) {
	w := openWorkshop(t, "clients")
	h := open(t)
	code, out := h.operate("client", "create", "--tenant", "acme", "--scopes", "customers:read")
	if code != 0 {
		t.Fatal(out)
	}
	env := append(os.Environ(), "ISSUER="+h.Issuer, "RESOURCE="+h.Resource,
		"MACHINE_ID="+regexp.MustCompile(`cli_\S+`).FindString(out), "MACHINE_SECRET="+regexp.MustCompile(`ghs_\S+`).FindString(out))
	for program, want := range map[string][]string{
		"openid-client.mjs": {
			"authorization_code read_customer,search_knowledge_base", "refresh_token read_customer,search_knowledge_base", "revocation invalid_token",
			"pushed read_customer,search_knowledge_base", "private_key_jwt read_customer,search_knowledge_base",
			"client_secret_basic read_customer active=true customers:read", "client_secret_post read_customer active=true customers:read",
			"device_code read_customer",
		},
		"oauth4webapi.mjs": {
			"discovery true", "authorization_code read_customer,search_knowledge_base acme", "refresh_token read_customer acme", "revocation invalid_grant",
			"client_credentials read_customer acme", "introspection true",
			"dpop dpop read_customer,search_knowledge_base", "dpop refreshed read_customer,search_knowledge_base after 2 nonces", "dpop stolen 401", // RFC 9449
			"device_code authorization_pending", "device_code read_customer acme",
		},
	} {
		t.Run(program, func(t *testing.T) {
			c := exec.Command(w.node, program)
			c.Dir, c.Env = w.dir, env
			stdin, err := c.StdinPipe()
			must(t, err)
			stdout, err := c.StdoutPipe()
			must(t, err)
			c.Stderr = c.Stdout
			must(t, c.Start())
			ann, done, said := newPerson(h, "ann@acme.example"), []string{}, []string{}
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				said = append(said, lines.Text())
				if what, ok := strings.CutPrefix(lines.Text(), "done "); ok {
					done = append(done, what)
				}
				if address, ok := strings.CutPrefix(lines.Text(), "open "); ok {
					to, err := ann.agrees(address)
					if err != nil {
						t.Error(err)
					}
					fmt.Fprintln(stdin, to)
				}
			}
			if err := c.Wait(); err != nil || !slices.Equal(done, want) {
				t.Errorf("%v: did %q, want %q\n%s", err, done, want, strings.Join(said, "\n"))
			}
		})
	}
}

// agrees opens an address, signs in and says yes. It returns where the browser is sent.
func (p *person) agrees(address string) (string, error) {
	at, err := p.enter(address)
	if err != nil {
		return "", err
	}
	if at, err = p.submit(at, map[string][]string{"decision": {"approve"}}); err != nil {
		return "", err
	}
	if at.away != nil {
		return at.away.String(), nil
	}
	if at.status != 200 {
		return at.url.String(), fmt.Errorf("%s is at %s (%d):\n%s", p.email, at.url, at.status, at.body)
	}
	return at.url.String(), nil
}
