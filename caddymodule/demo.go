// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"github.com/toolgate/toolgate/gateway"
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
			cmd.RunE = caddycmd.WrapCommandFuncForCobra(runDemo)
		},
	}
}

func demoFolder() string { return filepath.Join(filepath.Dir(caddy.AppDataDir()), "toolgate-demo") }

func runDemo(flags caddycmd.Flags) (int, error) {
	d, err := newDemo(flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	if err := d.start(); err != nil {
		d.stop()
		return caddy.ExitCodeFailedStartup, err
	}
	d.tell(os.Stdout)
	<-stop
	fmt.Println("\nStopping …")
	signal.Stop(stop) // a second Ctrl-C ends the process at once
	if err := d.stop(); err != nil {
		return caddy.ExitCodeFailedQuit, err
	}
	fmt.Println("Stopped. Connections are kept in " + d.folder + ".")
	return caddy.ExitCodeSuccess, nil
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
	if d.tokenLife < 2*time.Second {
		return nil, errors.New("--token-life: two seconds or more, please")
	}
	if err := d.addresses(); err != nil {
		return nil, err
	}
	return d, d.prepareFolder()
}

// addresses checks and completes where to listen.
func (d *demoRun) addresses() error {
	host, port, err := net.SplitHostPort(d.listen)
	if err != nil {
		return fmt.Errorf("--listen %s: an address such as 127.0.0.1:8080, please", d.listen)
	}
	if !gateway.LoopbackHost(host) {
		return fmt.Errorf("--listen %s: the demo has no keys, so it listens on this machine only, such as on 127.0.0.1:%s", d.listen, port)
	}
	if d.provider == "" {
		next := "0"
		if n, err := strconv.Atoi(port); err == nil && n > 0 && n < 65535 {
			next = strconv.Itoa(n + 1)
		}
		d.provider = net.JoinHostPort(host, next)
	}
	if host, _, err := net.SplitHostPort(d.provider); err != nil || !gateway.LoopbackHost(host) {
		return fmt.Errorf("--provider-listen %s: an address of this machine such as 127.0.0.1:8081, please", d.provider)
	}
	// Caddy opens its port itself, and later. Asking for it first gives a
	// message that says what to do, and a number where 0 was asked for.
	on, err := listen("--listen", d.listen)
	if err != nil {
		return err
	}
	d.listen = on.Addr().String()
	if d.acmeOn, err = listen("--provider-listen", d.provider); err != nil {
		on.Close()
		return err
	}
	return on.Close()
}

func listen(option, address string) (net.Listener, error) {
	on, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program: stop that, or choose another address with %s", address, option)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", option, address, err)
	}
	return on, nil
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

// start brings up Acme and then Toolgate.
func (d *demoRun) start() error {
	clientSecret, err := d.clientSecret()
	if err != nil {
		return err
	}
	provider, err := demo.New(demo.Config{
		Origin: "http://" + d.acmeOn.Addr().String(), ClientID: "toolgate-demo", ClientSecret: clientSecret,
		RedirectURIs: []string{d.publicURL() + "/callback/acme"}, AccessTTL: d.tokenLife,
		StatePath: filepath.Join(d.folder, "acme.json"),
	})
	if err != nil {
		return fmt.Errorf("starting Acme: %w", err)
	}
	d.acme = &http.Server{Handler: provider, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = d.acme.Serve(d.acmeOn) }()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(d.caddyfile()), map[string]any{"filename": "demo"})
	if err != nil {
		return err
	}
	return plain(d, caddy.Load(config, true))
}

// plain makes one clear line of an error that Caddy has wrapped several times.
func plain(d *demoRun, err error) error {
	if errors.Is(err, filestore.ErrLocked) {
		return fmt.Errorf("another Toolgate is using %s: stop it, or choose another folder with --data-dir", filepath.Join(d.folder, "connections.db"))
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
		return "", fmt.Errorf("the client's secret: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
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

const demoCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	skip_install_trust
	grace_period 3s
	storage file_system "DATA/caddy"
	log default {
		level ERROR
	}
	log demo {
		output stdout
		format console {
			time_format "15:04:05"
			level_format lower
		}
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
`

// tell prints the story.
func (d *demoRun) tell(out io.Writer) {
	call := "curl -s -H 'X-User-Id: alice' " + d.publicURL() + "/acme/v1/me"
	fmt.Fprintf(out, `
Toolgate is at %[1]s, and Acme, a provider made for this demo, at http://%[2]s.
An agent calls Acme through Toolgate. It holds no secret of Acme's; it says only for which user it calls.

  1  Call Acme's API for the user alice:

         %[3]s

     The answer is 403 auth_required with a connect_url. An agent shows that link to its user.

  2  Open the connect_url in a browser, continue to Acme, sign in as alice (password: demo), allow.
     The page says "Connected as alice@acme.example".

  3  The same call again. Now it is 200, with Alice's data:

         %[3]s

  4  Acme's tokens live for %[4]s. Wait for so long and call again: it still works, and below
     a line says "token refreshed".

%[5]sKept in %[6]s. Ctrl-C stops both.

`, d.publicURL(), d.acmeOn.Addr(), call, d.tokenLife, d.before(), d.folder)
}

// before says whether alice is connected from an earlier run.
func (d *demoRun) before() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.listen+"/v1/connections/acme", nil)
	if err != nil {
		return ""
	}
	r.Host = strings.TrimPrefix(d.publicURL(), "http://")
	r.Header.Set("X-User-Id", "alice")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var status struct{ Status string }
	if json.NewDecoder(res.Body).Decode(&status) != nil || status.Status != "active" {
		return ""
	}
	return "alice is still connected from an earlier run, so you can begin at step 3.\n\n"
}

// stop ends both, Toolgate first: what it has under way may still need Acme.
func (d *demoRun) stop() error {
	err := caddy.Stop()
	if d.acme != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if d.acme.Shutdown(ctx) != nil {
			d.acme.Close()
		}
	} else if d.acmeOn != nil {
		d.acmeOn.Close()
	}
	return err
}
