package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/flags"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

const gatewayFile = "gateway.yaml"

// readWithin bounds how long a server may take to list its tools: its program may have to be
// downloaded first.
const readWithin = 3 * time.Minute

func (c *command) gatewayCommands() *cobra.Command {
	return c.noun(groupGateway, "gateway", "Protect existing MCP servers without changing them",
		c.verb("serve", "Run the gateway in front of the MCP servers of a file", "--file gateway.yaml", gatewayServe),
		c.verb("init [-- PROGRAM]", "List the tools of an MCP server, and write a gateway file for it",
			"--upstream http://127.0.0.1:9000/mcp --name notes", gatewayInit),
		c.verb("approve", "Compare the servers' tools with the approved ones, and approve the changes", "--look",
			gatewayApprove),
	)
}

// gatewayServe runs the gateway until ctx ends.
func gatewayServe(fs *pflag.FlagSet) action {
	file := fs.String("file", gatewayFile, "file of the gateway: its servers, and who may do what there")
	callTimeout := fs.Duration("call-timeout", 0,
		"how long the response to an allowed call may take, whenever its token expires (default call_timeout of the "+
			"file, or 1h)")
	return func(ctx context.Context, c *command) error {
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
			return usageError("correct the file, or what it names; "+Name+" gateway init writes a first one", err)
		}
		return errors.Join(c.serveGateway(ctx, g, log), g.Close())
	}
}

// gatewayDatabase returns the gateway's database with its schema up to date.
func (c *command) gatewayDatabase(ctx context.Context, file string) (string, error) {
	database, err := gateway.Database(file, c.program.Getenv)
	if err != nil {
		return "", usageError("correct the file, or what it names; "+Name+" gateway init writes a first one", err)
	}
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) // readable by its owner only
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return "", usageError("name another database: in the gateway's file",
				fmt.Errorf("making the gateway's database: %w", err))
		}
	}
	if err := schema.Up(ctx, database, migrations.Companion, "schema_migrations_companion"); err != nil {
		return "", usageError("is it the right database, and is it undamaged? database: in the gateway's file names "+
			"another one", fmt.Errorf("migrating the gateway's database: %w", err))
	}
	return database, nil
}

// openGateway opens the database of a gateway, which a running gateway shares.
func (c *command) openGateway(ctx context.Context) (doer, func() error, error) {
	database, err := gateway.Database(c.gateway, c.program.Getenv)
	var store *operator.Registry
	var shut func() error
	if err == nil {
		store, shut, err = gateway.OpenOperator(ctx, c.gateway,
			gateway.Deps{Now: c.program.Now, Getenv: c.program.Getenv, Database: database})
	}
	if err != nil {
		return nil, nil,
			usageError("--gateway names the file of a gateway that has run here: "+Name+
				" gateway serve makes its database", err)
	}
	return &authserver.Operator{More: toolsActs(store)}, shut, nil
}

// serveGateway listens and serves. SIGHUP reloads the file.
func (c *command) serveGateway(ctx context.Context, g *gateway.Gateway, log *slog.Logger) error {
	l, err := httpd.Listen(g.Listen())
	if err != nil {
		return usageError("choose another address with listen: in the file, or stop what uses this one", err)
	}
	servers := []httpd.Door{{Server: httpd.Server(g.Handler()), Listener: l}}
	if at := g.MetricsListen(); at != "" {
		l, err := httpd.Listen(at)
		if err != nil {
			return usageError("choose another address with metrics_listen: in the file, or stop what uses this one",
				errors.Join(err, servers[0].Listener.Close()))
		}
		servers = append(servers, httpd.Door{Server: httpd.Server(g.Metrics()), Listener: l})
	}
	for _, d := range servers {
		d.Server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	}
	fmt.Fprintf(c.program.Stdout, "%s %s, the gateway, listens on %s\n\n", Name, Version, l.Addr())
	for _, u := range g.Upstreams() {
		fmt.Fprintf(c.program.Stdout, "  %-16s %s\n", u.Name, u.Resource)
	}
	if len(servers) > 1 {
		fmt.Fprintf(c.program.Stdout, "  %-16s http://%s/metrics\n", "metrics", servers[1].Listener.Addr())
	}
	fmt.Fprintf(c.program.Stdout, "\nCtrl-C stops it; SIGHUP reloads its file.\n\n")
	if c.program.Ready != nil {
		a := Addresses{Gateway: l.Addr().String()}
		if len(servers) > 1 {
			a.Metrics = "http://" + servers[1].Listener.Addr().String() + "/metrics"
		}
		c.program.Ready(a)
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	err = httpd.Run(ctx, servers, g.Stop(), func(ctx context.Context) { g.Run(ctx, again) })
	if err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// gatewayInit writes a first gateway file.
func gatewayInit(fs *pflag.FlagSet) action {
	var e gateway.Existing
	flags.URLVar(fs, &e.URL, "upstream", "URL at which the server speaks Streamable HTTP")
	fs.StringVar(&e.Tenant, "tenant", "demo", "tenant as whose member a program is started")
	fs.StringVar(&e.Name, "name", "", "short name for the server (default its own name)")
	fs.StringVar(&e.Credential.Secret.Env, "credential-env", "",
		"environment variable with the secret that the server requires; never the secret itself")
	fs.StringVar(&e.Credential.Header, "credential-header", "",
		"header of the secret (default Authorization, as Bearer)")
	fs.StringVar(&e.CA, "ca", "",
		"file of the CA certificates (PEM) for a server at an https URL, in place of the machine's")
	fs.StringVar(&e.ClientCertificate, "client-certificate", "",
		"file of the client certificate (PEM) for the server; it goes with --client-key")
	fs.StringVar(&e.ClientKey, "client-key", "", "file of the key (PEM) of that certificate")
	flags.StringsVar(fs, &e.Environment, "environment",
		"name of a variable that a program gets beside PATH, now and from "+
			"the gateway; may be repeated. With HOME, all tenants share this one")
	file := fs.String("file", gatewayFile, "file to write; its lock file is beside it")
	fs.SetInterspersed(false) // the rest is the program with its arguments
	return func(ctx context.Context, c *command) error {
		e.Command = c.rest
		if len(e.Command) == 0 && len(e.Environment) > 0 {
			return usageError("the variables are for a program: "+Name+" gateway init --environment NAME -- PROGRAM",
				errors.New("--environment is given, and no program is named"))
		}
		for _, name := range e.Environment {
			if c.program.Getenv(name) == "" {
				return usageError("set it, or name another with --environment",
					fmt.Errorf("the environment has no %s", name))
			}
		}
		switch tls := e.CA != "" || e.ClientCertificate != "" || e.ClientKey != ""; {
		case (e.ClientCertificate == "") != (e.ClientKey == ""):
			return usageError("give both, or neither", errors.New("--client-certificate and --client-key go together"))
		case tls && !strings.HasPrefix(e.URL, "https:"):
			return usageError("name such a server with --upstream https://…",
				errors.New("--ca, --client-certificate and --client-key are for a server at an https URL"))
		}
		if (e.URL == "") == (len(e.Command) == 0) {
			return usageError(Name+" gateway init --upstream http://127.0.0.1:9000/mcp, or gateway init -- PROGRAM "+
				"ARGUMENT…", errors.New("give either --upstream or a program"))
		}
		if e.Credential.Secret.Env != "" && e.Credential.Header == "" {
			e.Credential.Header = "Authorization"
		}
		e.Getenv = c.program.Getenv
		for _, path := range []string{*file, gateway.LockPath(*file)} {
			if _, err := os.Stat(path); !errors.Is(err, iofs.ErrNotExist) {
				return usageError("name another with --file, or remove it", fmt.Errorf("%s is there already", path))
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
			return usageError("is the server running, does it speak MCP there, and does it answer callers with no "+
				"credential, or the one of --credential-env?", err)
		}
		return c.writeProposal(p, *file)
	}
}

// writeProposal writes the two files, and prints the next steps.
func (c *command) writeProposal(p *gateway.Proposal, file string) error {
	if err := os.WriteFile(file, p.Config, 0o644); err != nil {
		return usageError("name another with --file", fmt.Errorf("writing the configuration: %w", err))
	}
	if err := p.WriteLock(file); err != nil {
		return usageError("name another with --file", err)
	}
	return c.done(fmt.Sprintf(`%[1]s has %[2]d tools. The proposal is in %[3]s: review it,
above all the tools that write.

The issuer must know the resource. Add this to the file that --resources names:

%[4]s

Then:

  %[5]s serve --demo=false --resources resources.json
  %[5]s client create --server %[6]s
  export GATEHOUSE_CLIENT_ID=... GATEHOUSE_CLIENT_SECRET=...   # as that command printed them
  %[5]s gateway serve --file %[7]s

A running issuer learns of it without a restart, and an existing tenant may use it, by:

  %[5]s resource put %[6]s --name %[1]s --scope '%[1]s:read=Read with %[1]s' --scope '%[1]s:write=Change things with %[1]s' --baseline %[1]s:read
  %[5]s policy set --tenant TENANT --add-scopes %[1]s:read,%[1]s:write

People can give agents the scopes of their role. Name all scopes of each role that shall have it,
as "%[5]s role list --tenant TENANT" shows them now (and --admin, --includes):

  %[5]s role put --tenant TENANT --role ROLE --scopes ...,%[1]s:read,%[1]s:write`, p.Name, p.Tools, file,
		p.Resources, Name, p.Resource, quote(file)),
		field{"name", p.Name}, field{"tools", p.Tools}, field{"file", file},
		field{"resources", json.RawMessage(p.Resources)})
}

// gatewayApprove prints what changed about the servers' tools, and approves it.
func gatewayApprove(fs *pflag.FlagSet) action {
	file := fs.String("file", gatewayFile, "file of the gateway")
	tenant := fs.String("tenant", "demo", "tenant as whose member the servers are asked")
	look := fs.Bool("look", false, "print the changes, and approve nothing; the exit code is 1 when there are any")
	return func(ctx context.Context, c *command) error {
		log, err := c.program.log(c.logLevel)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, readWithin)
		defer cancel()
		a, err := gateway.LookAt(ctx, *file, *tenant,
			gateway.Deps{Log: log, Now: c.program.Now, Getenv: c.program.Getenv})
		if err != nil {
			return usageError("are all servers of the file running?", err)
		}
		approved := !*look && len(a.Changes) > 0
		if approved {
			err = a.Write()
		}
		if err != nil {
			return usageError("the folder of the file must be writable", err)
		}
		text := strings.Join(a.Changes, "\n")
		switch {
		case len(a.Changes) == 0:
			text = "every tool is as it was approved"
		case approved:
			text += "\napproved, in " + gateway.LockPath(*file)
		}
		err = c.done(text, field{"changes", a.Changes}, field{"approved", approved || len(a.Changes) == 0})
		if err == nil && *look && len(a.Changes) > 0 {
			return &exitError{errors.New("tools differ from the approved ones"),
				Name + " gateway approve approves them", exitFailed}
		}
		return err
	}
}
