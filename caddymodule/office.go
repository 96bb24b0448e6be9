// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// office is where a command has its jobs done: in the running gateway, which has the
// store open, or in this process.
type office struct {
	app    *App          // as configured, with nothing open
	ctx    caddy.Context // of app
	config string        // how the operator names the configuration
	admin  string        // where the running gateway is asked; "": there is none
	own    *workplace    // else
	close  func()
}

// where names the configuration.
type where struct {
	config, adapter, address string
}

func officeFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "The configuration file (default: Caddyfile in this folder)")
	cmd.Flags().StringP("adapter", "a", "", "The configuration's adapter, where its name does not tell")
	cmd.Flags().String("address", "", "The running gateway's admin address, if not that of the configuration")
}

func whereOf(flags caddycmd.Flags) where {
	return where{flags.String("config"), flags.String("adapter"), flags.String("address")}
}

// openOffice finds the gateway that runs with the configuration's store, or else opens
// the store. Where fresh is not set, there has to be a store.
func openOffice(at where, fresh bool) (*office, error) {
	o, cfg, err := newOffice(at)
	if err != nil {
		return nil, err
	}
	return o, o.open(at, cfg, fresh)
}

// newOffice reads the configuration and opens nothing.
func newOffice(at where) (*office, *caddy.Config, error) {
	// Reading the configuration logs too, what whoever runs the gateway has seen.
	if _, err := caddy.ProvisionContext(quiet()); err != nil {
		return nil, nil, err
	}
	text, name, err := readConfig(at)
	if err != nil {
		return nil, nil, err
	}
	cfg := new(caddy.Config)
	if err := json.Unmarshal(text, cfg); err != nil {
		return nil, nil, fmt.Errorf("%s is no configuration of Caddy's: %w; an --adapter is missing perhaps", name, err)
	}
	o := &office{config: name, close: func() {}}
	return o, cfg, o.provision(cfg)
}

// quiet is a configuration of nothing, which logs nothing: a command's output is for
// people.
func quiet() *caddy.Config {
	silent := &caddy.CustomLog{BaseLog: caddy.BaseLog{Level: "PANIC"}}
	return &caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}, Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": silent}}}
}

func (o *office) open(at where, cfg *caddy.Config, fresh bool) error {
	silent, err := o.findGateway(at, cfg)
	if err == nil && o.admin == "" {
		err = o.openStore(fresh, silent)
	}
	if err != nil {
		o.close()
	}
	return err
}

// readConfig reads the configuration as Caddy's own commands do, but for logging it.
func readConfig(at where) (config []byte, name string, err error) {
	name = at.config
	if name == "" {
		name = "Caddyfile"
	}
	config, err = os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && at.config == "" {
		return nil, "", errors.New("there is no Caddyfile in this folder: name the gateway's configuration with --config")
	}
	if err != nil {
		return nil, "", fmt.Errorf("the configuration: %w", err)
	}
	adapter, base := at.adapter, strings.ToLower(filepath.Base(name))
	if adapter == "" && filepath.Ext(base) != ".json" && (strings.HasPrefix(base, "caddyfile") || strings.HasSuffix(base, ".caddyfile")) {
		adapter = "caddyfile"
	}
	if adapter == "" {
		return config, name, nil
	}
	known := caddyconfig.GetAdapter(adapter)
	if known == nil {
		return nil, "", fmt.Errorf("there is no adapter %q", adapter)
	}
	config, _, err = known.Adapt(config, map[string]any{"filename": name})
	if err != nil {
		return nil, "", fmt.Errorf("the configuration %s: %w", name, err)
	}
	return config, name, nil
}

// provision makes the app alone of what is configured, which opens nothing.
func (o *office) provision(all *caddy.Config) error {
	if all.AppsRaw["toolgate"] == nil {
		return fmt.Errorf("the configuration %s has no toolgate in its global options", o.config)
	}
	cfg := quiet()
	cfg.AppsRaw = caddy.ModuleMap{"toolgate": all.AppsRaw["toolgate"]}
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		return fmt.Errorf("the configuration %s: %w", o.config, err)
	}
	app, err := ctx.App("toolgate")
	if err != nil {
		return err
	}
	o.app, o.ctx = app.(*App), ctx
	return nil
}

// dialLimit is for an admin endpoint that takes a connection and says nothing.
const dialLimit = 5 * time.Second

// findGateway asks at the admin address for a gateway with this store. Where there is
// none, it tells why one may run all the same.
func (o *office) findGateway(at where, cfg *caddy.Config) (silent string, err error) {
	address := at.address
	switch {
	case address != "":
	case cfg.Admin == nil || cfg.Admin.Listen == "" && !cfg.Admin.Disabled:
		address = caddy.DefaultAdminListen
	case cfg.Admin.Disabled:
		return "its configuration says `admin off`, so that commands cannot reach it", nil
	default:
		address = cfg.Admin.Listen
	}
	if address, err = resolved(address); err != nil {
		return "", fmt.Errorf("the admin address: %w", err)
	}
	if err := dial(address); errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("the gateway's admin socket %s is not for this user: run the command as the user whom the gateway runs as", address)
	} else if err != nil {
		if at.address != "" {
			return "", fmt.Errorf("nobody answers at %s", address)
		}
		return "nobody answers at its admin address " + address, nil
	}
	o.admin = address
	var is aboutAnswer
	if err := o.ask("about", struct{}{}, &is); err != nil {
		o.admin = ""
		return "who answers at the admin address " + address + " is no Toolgate", nil
	}
	if is.Store != storeID(o.app.opener) {
		o.admin = ""
		return "the gateway at " + address + " has another store than this configuration names here; is it run by another user, with another environment?", nil
	}
	return "", nil
}

func dial(address string) error {
	to, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return err
	}
	if to.IsUnixNetwork() {
		to.Host, _, _ = strings.Cut(to.Host, "|") // the socket's mode
	}
	conn, err := net.DialTimeout(to.Network, to.JoinHostPort(0), dialLimit)
	if err != nil {
		return err
	}
	return conn.Close()
}

// openStore opens the store here. It never waits for who has it.
func (o *office) openStore(fresh bool, silent string) error {
	file, isFile := o.app.opener.(*FileStore)
	if _, forgets := o.app.opener.(*MemoryStore); forgets {
		return fmt.Errorf("store memory is the gateway's own memory, and %s", silent)
	}
	made, err := openFor(o.app.opener)
	if err != nil {
		return err
	}
	there := true
	if isFile {
		info, err := os.Stat(file.Path)
		there = err == nil && info.Size() > 0
		if !there && !fresh {
			return fmt.Errorf("there is no store at %s (%s)", file.Path, silent)
		}
	}
	o.close = func() { _ = made.Close(); _ = o.app.auditTo.Close() }
	if there { // or else the key comes first, as when a gateway starts
		if err := probe(made); err != nil {
			return inUseBy(err, file, "and "+silent+": stop it, or run it with an admin socket, such as `admin unix//run/toolgate/admin.sock|0600`, and name the same configuration here")
		}
	}
	ring, err := o.app.ring()
	if err != nil {
		return fmt.Errorf("encryption_key: %w", err)
	}
	o.own = &workplace{app: o.app, store: made, ring: ring, vault: vault.New(made, ring), audit: audit.NewWriter(o.app.auditTo)}
	o.own.people = o.app.people(o.own.vault, o.own.audit, nil)
	return nil
}

// openFor makes a store for a command, which waits for nobody.
func openFor(opener StoreOpener) (store.Store, error) {
	if file, ok := opener.(*FileStore); ok {
		return filestore.New(filestore.Config{Path: file.Path, LockWait: time.Millisecond}), nil
	}
	return opener.NewStore()
}

func probe(s store.Store) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := s.Get(ctx, vault.Canary); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

var errSameStore = errors.New("the other store is this one")

// inUseBy says which process has the file; todo says what that means.
func inUseBy(err error, file *FileStore, todo string) error {
	if file == nil || !errors.Is(err, filestore.ErrLocked) {
		return err
	}
	who := "another process"
	pid, name := filestore.Holder(file.Path)
	switch pid {
	case 0:
	case os.Getpid():
		return errSameStore
	default:
		who = fmt.Sprintf("process %d (%s)", pid, name)
	}
	return fmt.Errorf("%s has the store %s open, %s", who, file.Path, todo)
}

// ask has a job done.
func (o *office) ask(job string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var result json.RawMessage
	if o.admin == "" {
		result, err = do(context.Background(), o.own, job, body)
	} else {
		result, err = o.askGateway(job, body)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(result, out)
}

func (o *office) askGateway(job string, body []byte) (json.RawMessage, error) {
	// Caddy's client opens a connection for each request, and leaves it open.
	header := http.Header{"Connection": {"close"}}
	res, err := caddycmd.AdminAPIRequest(o.admin, http.MethodPost, adminPrefix+job, header, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking the running gateway at %s: %w", o.admin, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("the running gateway's answer broke off: %w", err)
	}
	var answer adminAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, errors.New("the running gateway's answer makes no sense: is it of another version?")
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Result, nil
}
