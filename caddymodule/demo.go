// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/demo"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
)

const demoLong = `
Starts Toolgate and, beside it, Acme: a small OAuth provider with an API of its
own, made to behave like a real one. The output is a story to follow with curl
and a browser: a call is refused with a link, the user connects, the same call
works, and goes on working when the token expires.

Nothing outside of this machine is needed or reached. Connections are kept in
the data folder; a second start finds them there.`

func demoCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "demo",
		Usage: "[--listen <address>] [--provider-listen <address>] [--data-dir <folder>] [--token-life <duration>]",
		Short: "Shows Toolgate at work with a demo provider",
		Long:  demoLong,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("listen", "127.0.0.1:8080", "Where Toolgate listens, on this machine")
			cmd.Flags().String("provider-listen", "", "Where Acme listens (default: the next port)")
			cmd.Flags().String("data-dir", "", "Where connections, keys and logs are kept (default: "+demoFolder()+")")
			cmd.Flags().Duration("token-life", 30*time.Second, "How long Acme's access tokens live")
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runDemo(caddycmd.Flags{FlagSet: cmd.Flags()}) }
			// Cobra prints the error, as one plain line. Caddy's wrapper would log
			// it, which is JSON wherever stderr is not a terminal.
			cmd.SilenceErrors, cmd.SilenceUsage = false, true
		},
	}
}

func demoFolder() string { return filepath.Join(filepath.Dir(caddy.AppDataDir()), "toolgate-demo") }

func runDemo(flags caddycmd.Flags) error {
	d, err := newDemo(flags)
	if err != nil {
		return err
	}
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	context.AfterFunc(ctx, release) // a second Ctrl-C ends the process at once, also during the start
	if err := d.start(); err != nil {
		d.stop()
		return err
	}
	if ctx.Err() == nil { // else somebody thought better of it meanwhile
		d.tell(os.Stdout)
		<-ctx.Done()
	}
	release() // before it is said that this ends
	fmt.Println("\nStopping …")
	d.stop()
	fmt.Println("Stopped. Connections are kept in " + d.folder)
	return nil
}

// demoRun is one run of the demo.
type demoRun struct {
	listen    string // host:port of Toolgate
	provider  string // of Acme
	folder    string
	tokenLife time.Duration
	acme      *http.Server
	acmeOn    net.Listener
}

// newDemo checks what was asked for. It touches nothing.
func newDemo(flags caddycmd.Flags) (*demoRun, error) {
	d := &demoRun{listen: flags.String("listen"), provider: flags.String("provider-listen"), folder: flags.String("data-dir"), tokenLife: flags.Duration("token-life")}
	if d.folder == "" {
		d.folder = demoFolder()
	}
	folder, err := filepath.Abs(d.folder)
	if err != nil {
		return nil, fmt.Errorf("--data-dir %s: %w", d.folder, err)
	}
	d.folder = folder
	if strings.ContainsAny(folder, "{}\"`\n") {
		return nil, fmt.Errorf("--data-dir %q: a path without quotes and braces, please", folder)
	}
	if d.tokenLife < 2*time.Second {
		return nil, fmt.Errorf("--token-life %s: two seconds or more, please", d.tokenLife)
	}
	host, port, err := onThisMachine("--listen", d.listen)
	if err != nil {
		return nil, err
	}
	if d.provider == "" {
		next := "0"
		if n, err := strconv.Atoi(port); err == nil && n > 0 && n < 65535 {
			next = strconv.Itoa(n + 1)
		}
		d.provider = net.JoinHostPort(host, next)
	}
	_, acmePort, err := onThisMachine("--provider-listen", d.provider)
	if err == nil && acmePort == port && port != "0" {
		err = fmt.Errorf("--provider-listen %s: Toolgate has this port, so another one, please", d.provider)
	}
	return d, err
}

// onThisMachine takes the addresses that a browser means by localhost, which is
// what the links say, and no other.
func onThisMachine(option, address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%s %s: an address such as 127.0.0.1:8080, please", option, address)
	case host != "127.0.0.1" && host != "::1" && host != "localhost":
		return "", "", fmt.Errorf("%s %s: the demo asks for no keys, so it listens on this machine only, such as on 127.0.0.1:%s", option, address, port)
	}
	return host, port, nil
}

// start brings up Toolgate and then Acme.
func (d *demoRun) start() error {
	if err := d.prepareFolder(); err != nil {
		return err
	}
	if err := d.takePorts(); err != nil {
		return err
	}
	clientSecret, err := d.clientSecret()
	if err != nil {
		return err
	}
	if err := d.startToolgate(); err != nil {
		return err
	}
	// Only now: who has the store may write what lies beside it.
	return d.startAcme(clientSecret)
}

func (d *demoRun) prepareFolder() error {
	if err := os.MkdirAll(d.folder, 0o700); err != nil {
		return fmt.Errorf("cannot make the data folder %s: %w; choose another with --data-dir", d.folder, bare(err))
	}
	probe, err := os.CreateTemp(d.folder, ".probe-*")
	if err != nil {
		return fmt.Errorf("cannot write to the data folder %s: %w; choose another with --data-dir", d.folder, bare(err))
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// bare is the reason without the path, which the message has already.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// takePorts takes Acme's, and Toolgate's for a moment: Caddy opens that itself, and
// later. Asking for it first gives a message that says what to do (Caddy would even
// share the port with another Caddy), and a number where 0 was asked for.
func (d *demoRun) takePorts() error {
	on, err := listen("--listen", d.listen)
	if err != nil {
		return err
	}
	defer on.Close()
	d.listen = on.Addr().String()
	_, port, _ := net.SplitHostPort(d.listen)
	// Browsers try both addresses of localhost: a program that has the other one
	// would get the user's clicks. Where there is no IPv6 it is nobody's.
	for _, host := range []string{"127.0.0.1", "::1"} {
		other := net.JoinHostPort(host, port)
		if other == d.listen {
			continue
		}
		if on, err := net.Listen("tcp", other); err == nil {
			on.Close()
		} else if errors.Is(err, syscall.EADDRINUSE) {
			return inUse("--listen", other)
		}
	}
	d.acmeOn, err = listen("--provider-listen", d.provider)
	return err
}

func listen(option, address string) (net.Listener, error) {
	on, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, inUse(option, address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", option, address, reason(err))
	}
	return on, nil
}

func inUse(option, address string) error {
	return fmt.Errorf("%s is in use by another program: stop that, or choose another address with %s", address, option)
}

// reason is the last of the causes: the message has the address already.
func reason(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// clientSecret is made on the first run; Toolgate reads it from the file, as an
// operator's would.
func (d *demoRun) clientSecret() (string, error) {
	path := filepath.Join(d.folder, "acme-client-secret")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(rand.Text())
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("the client's secret %s: %w", path, bare(err))
	}
	return strings.TrimSpace(string(text)), nil
}

func (d *demoRun) startToolgate() error {
	registerDemoLines()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(d.caddyfile()), map[string]any{"filename": "demo"})
	if err != nil {
		return err
	}
	return d.plain(caddy.Load(config, true))
}

// plain makes one clear line of an error that Caddy has wrapped. Caddy keeps only
// the text of what it wraps, so errors.Is finds nothing in it.
func (d *demoRun) plain(err error) error {
	if err == nil {
		return nil
	}
	if strings.Contains(err.Error(), filestore.ErrLocked.Error()) {
		return fmt.Errorf("another Toolgate is using the data folder %s: stop that, or choose another with --data-dir", d.folder)
	}
	if _, why, ours := strings.Cut(err.Error(), " app module: start: "); ours {
		return errors.New(strings.TrimPrefix(why, "toolgate: "))
	}
	return err
}

func (d *demoRun) startAcme(clientSecret string) error {
	provider, err := demo.New(demo.Config{
		Origin: "http://" + d.acmeOn.Addr().String(), ClientID: "toolgate-demo", ClientSecret: clientSecret,
		RedirectURIs: []string{d.publicURL() + "/callback/acme"}, AccessTTL: d.tokenLife,
		StatePath: filepath.Join(d.folder, "acme.json"),
	})
	if err != nil {
		return err
	}
	d.acme = &http.Server{Handler: provider, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = d.acme.Serve(d.acmeOn) }()
	return nil
}

// stop ends both, Toolgate first: what it has under way may still need Acme. Caddy
// itself waits for nothing here, but Acme does for calls that have come through to it.
func (d *demoRun) stop() {
	_ = caddy.Stop() // never an error; what its apps have to say is in the log
	if d.acme != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if d.acme.Shutdown(ctx) != nil {
			d.acme.Close()
		}
	} else if d.acmeOn != nil {
		d.acmeOn.Close()
	}
}

// publicURL names localhost while Acme is on 127.0.0.1: cookies know hosts, not
// ports, and two services should not share theirs.
func (d *demoRun) publicURL() string {
	_, port, _ := net.SplitHostPort(d.listen)
	return "http://localhost:" + port
}

func (d *demoRun) caddyfile() string {
	host, port, _ := net.SplitHostPort(d.listen)
	return strings.NewReplacer(
		"DATA", filepath.ToSlash(d.folder), "PUBLIC", d.publicURL(), "HOST", host, "PORT", port,
		"ACME", "http://"+d.acmeOn.Addr().String(),
	).Replace(demoCaddyfile)
}

// The default log stays where it is, and silent: Caddy says in JSON that it moved one.
const demoCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	skip_install_trust
	grace_period 3s
	storage file_system "DATA/caddy"
	log default {
		level PANIC
	}
	log all {
		output file "DATA/caddy.log"
	}
	log demo {
		output stdout
		format toolgate_demo
		include toolgate
	}
	toolgate {
		public_url PUBLIC
		store file "DATA/connections.db"
		audit "DATA/audit.log"
		toolkit acme {
			name Acme
			base_url ACME
			oauth2 {
				issuer ACME
				authorize_url ACME/authorize
				token_url ACME/token
				revoke_url ACME/revoke
				auth_style basic
				client_id toolgate-demo
				client_secret "{file.DATA/acme-client-secret}"
				scopes read write offline_access
			}
			identity /v1/me email
		}
	}
}

http://localhost:PORT, http://127.0.0.1:PORT, http://[::1]:PORT {
	bind HOST
	toolgate_connect
	toolgate
}

http://:PORT {
	bind HOST
	respond "There is nothing under this name. The demo is at PUBLIC." 404
}
`
