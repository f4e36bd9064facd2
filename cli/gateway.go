package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

const gatewayFile = "gateway.yaml"

// readWithin is how long a server may take to say what it offers: a program may have to be fetched
// first.
const readWithin = 3 * time.Minute

// gatewayServe runs the gateway until ctx ends.
func gatewayServe(fs *flag.FlagSet) action {
	file := fs.String("file", gatewayFile, "the `file` that says which servers are behind, and who may do what there")
	callTimeout := fs.Duration("call-timeout", 0,
		"how long the answer to a call that was admitted may take, whenever its token expires (default call_timeout "+
			"of the file, or 1h)")
	return func(ctx context.Context, c *call) error {
		log, err := c.program.log(c.logLevel)
		if err != nil {
			return err
		}
		database, err := c.gatewayDatabase(ctx, *file)
		if err != nil {
			return err
		}
		if c.program.Getenv("GOGC") == "" {
			defer debug.SetGCPercent(debug.SetGCPercent(gateway.GCPercent))
		}
		if c.program.Getenv("GOMEMLIMIT") == "" {
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(memoryLimit(os.DirFS("/"))))
		}
		g, err := gateway.New(ctx, *file, gateway.Deps{Log: log, Now: c.program.Now, Getenv: c.program.Getenv,
			Database: database, CallTimeout: *callTimeout})
		if err != nil {
			return misused("mend the file, or what it names; "+Name+" gateway init writes one to begin with", err)
		}
		return errors.Join(c.serveGateway(ctx, g, log), g.Close())
	}
}

// gatewayDatabase is the gateway's database, brought up to date.
func (c *call) gatewayDatabase(ctx context.Context, file string) (string, error) {
	database, err := gateway.Database(file, c.program.Getenv)
	if err != nil {
		return "", misused("mend the file, or what it names; "+Name+" gateway init writes one to begin with", err)
	}
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) // for its owner alone
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return "", misused("name another database: in the gateway's file",
				fmt.Errorf("making the gateway's database: %w", err))
		}
	}
	if err := schema.Up(ctx, database, migrations.Companion, "schema_migrations_companion"); err != nil {
		return "", misused("is it the right database, and did nothing damage it? Another one is named with database: "+
			"in the gateway's file", fmt.Errorf("migrating the gateway's database: %w", err))
	}
	return database, nil
}

// openGatewayDesk opens the operator's door of a gateway. It counts in the gateway that runs,
// because both have one database.
func (c *call) openGatewayDesk(ctx context.Context) (doer, func() error, error) {
	database, err := gateway.Database(c.gateway, c.program.Getenv)
	var door *operator.Registry
	var shut func() error
	if err == nil {
		door, shut, err = gateway.OpenOperator(ctx, c.gateway,
			gateway.Deps{Now: c.program.Now, Getenv: c.program.Getenv, Database: database})
	}
	if err != nil {
		return nil, nil,
			misused("--gateway names the file of a gateway that has run here: "+Name+
				" gateway serve makes its database", err)
	}
	return &authserver.Operator{More: toolsActs(door)}, shut, nil
}

// serveGateway listens and serves. SIGHUP reads the file anew.
func (c *call) serveGateway(ctx context.Context, g *gateway.Gateway, log *slog.Logger) error {
	l, err := httpd.Listen(g.Listen())
	if err != nil {
		return misused("choose another address with listen: in the file, or stop what uses this one", err)
	}
	doors := []httpd.Door{{Server: httpd.Server(g.Handler()), Listener: l}}
	if at := g.MetricsListen(); at != "" {
		l, err := httpd.Listen(at)
		if err != nil {
			return misused("choose another address with metrics_listen: in the file, or stop what uses this one",
				errors.Join(err, doors[0].Listener.Close()))
		}
		doors = append(doors, httpd.Door{Server: httpd.Server(g.Metrics()), Listener: l})
	}
	for _, d := range doors {
		d.Server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	}
	fmt.Fprintf(c.program.Stdout, "%s %s, the gateway, listens on %s\n\n", Name, Version, l.Addr())
	for _, u := range g.Upstreams() {
		fmt.Fprintf(c.program.Stdout, "  %-16s %s\n", u.Name, u.Resource)
	}
	if len(doors) > 1 {
		fmt.Fprintf(c.program.Stdout, "  %-16s http://%s/metrics\n", "metrics", doors[1].Listener.Addr())
	}
	fmt.Fprintf(c.program.Stdout, "\nCtrl-C stops it; SIGHUP reads its file anew.\n\n")
	if c.program.Ready != nil {
		a := Addresses{Gateway: l.Addr().String()}
		if len(doors) > 1 {
			a.Metrics = "http://" + doors[1].Listener.Addr().String() + "/metrics"
		}
		c.program.Ready(a)
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	err = httpd.Run(ctx, doors, g.Stop(), func(ctx context.Context) { g.Run(ctx, again) })
	if err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// gatewayInit writes a configuration to begin with.
func gatewayInit(fs *flag.FlagSet) action {
	var e gateway.Existing
	fs.StringVar(&e.URL, "upstream", "", "`URL` at which the server speaks Streamable HTTP")
	fs.StringVar(&e.Tenant, "tenant", "demo", "the `tenant` whose process is asked, of a command")
	fs.StringVar(&e.Name, "name", "", "a short `word` for the server (default its own name)")
	fs.StringVar(&e.Credential.Secret.Env, "credential-env", "",
		"the `variable` of the environment that has the secret which the server asks for; never give the secret itself")
	fs.StringVar(&e.Credential.Header, "credential-header", "",
		"the `header` that it comes in (default Authorization, as Bearer)")
	fs.StringVar(&e.CA, "ca", "",
		"the `file` of the certificates (PEM) by which a server at an https URL is trusted, in place of the machine's")
	fs.StringVar(&e.ClientCertificate, "client-certificate", "",
		"the `file` of the certificate (PEM) that the server is shown; it goes with --client-key")
	fs.StringVar(&e.ClientKey, "client-key", "", "the `file` of the key (PEM) of that certificate")
	fs.Func("environment", "the `name` of a variable that a program gets, now and from the gateway, beside PATH; "+
		"again for each. With HOME, all tenants have this one", func(name string) error {
		e.Environment = append(e.Environment, name)
		return nil
	})
	file := fs.String("file", gatewayFile, "the `file` to write; its lock file lies beside it")
	return func(ctx context.Context, c *call) error {
		e.Command = c.rest
		if len(e.Command) == 0 && len(e.Environment) > 0 {
			return misused("the variables are for a program: "+Name+" gateway init --environment NAME -- PROGRAM",
				errors.New("--environment is given, and no program is named"))
		}
		for _, name := range e.Environment {
			if c.program.Getenv(name) == "" {
				return misused("set it, or name another with --environment",
					fmt.Errorf("the environment has no %s", name))
			}
		}
		switch tls := e.CA != "" || e.ClientCertificate != "" || e.ClientKey != ""; {
		case (e.ClientCertificate == "") != (e.ClientKey == ""):
			return misused("give both, or neither", errors.New("--client-certificate and --client-key go together"))
		case tls && !strings.HasPrefix(e.URL, "https:"):
			return misused("name such a server with --upstream https://…",
				errors.New("--ca, --client-certificate and --client-key are for a server at an https URL"))
		}
		if (e.URL == "") == (len(e.Command) == 0) {
			return misused(Name+" gateway init --upstream http://127.0.0.1:9000/mcp, or gateway init -- PROGRAM "+
				"ARGUMENT…", errors.New("no server is named, or two"))
		}
		if e.Credential.Secret.Env != "" && e.Credential.Header == "" {
			e.Credential.Header = "Authorization"
		}
		e.Getenv = c.program.Getenv
		for _, path := range []string{*file, gateway.LockPath(*file)} {
			if _, err := os.Stat(path); !errors.Is(err, iofs.ErrNotExist) {
				return misused("name another with --file, or remove it", fmt.Errorf("%s is there already", path))
			}
		}
		log, err := c.program.log(c.logLevel)
		if err != nil {
			return err
		}
		e.Issuer, e.Resource, e.Log = c.issuer, c.resource, log
		ctx, cancel := context.WithTimeout(ctx, readWithin)
		defer cancel()
		p, err := gateway.Propose(ctx, e)
		if err != nil {
			return misused("is the server running, does it speak MCP there, and does it answer callers with no "+
				"credential, or the one of --credential-env?", err)
		}
		return c.writeProposal(p, *file)
	}
}

// writeProposal writes the two files, and says what to do next.
func (c *call) writeProposal(p *gateway.Proposal, file string) error {
	if err := os.WriteFile(file, p.Config, 0o644); err != nil {
		return misused("name another with --file", fmt.Errorf("writing the configuration: %w", err))
	}
	if err := p.WriteLock(file); err != nil {
		return misused("name another with --file", err)
	}
	return c.done(fmt.Sprintf(`%[1]s offers %[2]d tools. The proposal is in %[3]s: look at it, above all at what writes.

The issuer must know the resource. Put this into the file that --resources names:

%[4]s

Then:

  %[5]s serve --demo=false --resources resources.json
  %[5]s client create --server %[6]s
  export GATEHOUSE_CLIENT_ID=... GATEHOUSE_CLIENT_SECRET=...   # as that command printed them
  %[5]s gateway serve --file %[7]s

An issuer that runs already learns of it without a restart, and a tenant that is there already may use it, by:

  %[5]s resource put %[6]s --name %[1]s --scope '%[1]s:read=Read with %[1]s' --scope '%[1]s:write=Change things with %[1]s' --baseline %[1]s:read
  %[5]s policy set --tenant TENANT --add-scopes %[1]s:read,%[1]s:write

People give agents what their role gives: each role that shall have it is said whole, with what "%[5]s role list --tenant TENANT" shows of it now (and --admin, --includes):

  %[5]s role put --tenant TENANT --role ROLE --scopes ...,%[1]s:read,%[1]s:write`, p.Name, p.Tools, file, p.Resources, Name, p.Resource, quote(file)),
		fact{"name", p.Name}, fact{"tools", p.Tools}, fact{"file", file},
		fact{"resources", json.RawMessage(p.Resources)})
}

// gatewayApprove shows what is otherwise about the servers' tools, and approves it.
func gatewayApprove(fs *flag.FlagSet) action {
	file := fs.String("file", gatewayFile, "the `file` of the gateway")
	tenant := fs.String("tenant", "demo", "the `tenant` as whose member the servers are asked")
	look := fs.Bool("look", false, "show what is otherwise, and approve nothing; the exit code is 1 when something is")
	return func(ctx context.Context, c *call) error {
		log, err := c.program.log(c.logLevel)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, readWithin)
		defer cancel()
		a, err := gateway.LookAt(ctx, *file, *tenant,
			gateway.Deps{Log: log, Now: c.program.Now, Getenv: c.program.Getenv})
		if err != nil {
			return misused("do all the servers run that the file names?", err)
		}
		approved := !*look && len(a.Changes) > 0
		if approved {
			err = a.Write()
		}
		if err != nil {
			return misused("the folder of the file must be one that you can write to", err)
		}
		said := strings.Join(a.Changes, "\n")
		switch {
		case len(a.Changes) == 0:
			said = "every tool is as it was approved"
		case approved:
			said += "\napproved, in " + gateway.LockPath(*file)
		}
		err = c.done(said, fact{"changes", a.Changes}, fact{"approved", approved || len(a.Changes) == 0})
		if err == nil && *look && len(a.Changes) > 0 {
			return &trouble{errors.New("something is otherwise than it was approved"),
				Name + " gateway approve approves it", exitFailed}
		}
		return err
	}
}
