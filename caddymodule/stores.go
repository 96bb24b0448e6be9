// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/filestore"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
)

// StoreOpener is what a guest module in the namespace `toolgate.stores` implements.
type StoreOpener interface {
	// PoolKey names what the store is kept in, such as a path, and nothing
	// else: two configurations with the same key share one open store.
	PoolKey() string
	// NewStore makes the store. It must not open anything yet: `validate`
	// makes one beside a server that has it open.
	NewStore() (store.Store, error)
	// KeyFile is where a key is kept when the operator configures none; "" where
	// the operator has to.
	KeyFile() string
}

// SharedStoreOpener is what a StoreOpener implements besides whose store is a server
// that several gateways use. It may be away, also when the gateway starts.
type SharedStoreOpener interface {
	StoreOpener
	// Settings tells settings of one place from others of it.
	Settings() string
	// UpdateStore hands these settings to the store, which is open already.
	UpdateStore(store.Store)
	// StaleLimit is for how long what was read is used while the store is away.
	// Zero: as long as an access token lives; less: not at all.
	StaleLimit() time.Duration
}

// FileStore keeps connections in one file of this machine. Only one process can
// have it open. Every write is on the disk before it counts.
type FileStore struct {
	// The file. Default: `toolgate/connections.db` in Caddy's data directory.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (FileStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "toolgate.stores.file", New: func() caddy.Module { return new(FileStore) }}
}

// Provision completes the path.
func (s *FileStore) Provision(caddy.Context) error {
	if s.Path == "" {
		s.Path = dataFile("connections.db")
	}
	path, err := resolved(s.Path)
	if err != nil {
		return err
	}
	if s.Path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("store file %q: %w", path, err)
	}
	return nil
}

// PoolKey is the path alone: with any setting in it, a change of that setting
// would open the file twice.
func (s *FileStore) PoolKey() string { return "file:" + s.Path }

// NewStore makes the store.
func (s *FileStore) NewStore() (store.Store, error) {
	return filestore.New(filestore.Config{Path: s.Path}), nil
}

// KeyFile is beside the store.
func (s *FileStore) KeyFile() string { return s.Path + keySuffix }

const keySuffix = ".key"

// UnmarshalCaddyfile sets up the store from Caddyfile tokens.
//
//	store file [<path>]
func (s *FileStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		s.Path = d.Val()
	}
	if d.NextArg() || d.NextBlock(0) {
		return d.Err("store file takes a path and nothing else")
	}
	return nil
}

// MemoryStore keeps connections until the process ends. It is for tests.
type MemoryStore struct{}

// CaddyModule returns the Caddy module information.
func (MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "toolgate.stores.memory", New: func() caddy.Module { return new(MemoryStore) }}
}

// PoolKey is the same for all: one process, one memory.
func (*MemoryStore) PoolKey() string { return "memory" }

// NewStore makes the store.
func (*MemoryStore) NewStore() (store.Store, error) { return memstore.New(nil), nil }

// KeyFile is none; a key for as long as the process lives is made.
func (*MemoryStore) KeyFile() string { return "" }

// UnmarshalCaddyfile sets up the store from Caddyfile tokens.
//
//	store memory
func (*MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() || d.NextBlock(0) {
		return d.Err("store memory takes nothing")
	}
	return nil
}

const storeNamespace = "toolgate.stores"

// storeNames are those of this binary, plug-ins included.
func storeNames() []string {
	var names []string
	for _, module := range caddy.GetModules(storeNamespace) {
		names = append(names, module.ID.Name())
	}
	return names
}

// parseStore reads `store <name> …` into the app's raw module.
func (a *App) parseStore(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("store takes a name: file, redis or memory")
	}
	name := d.Val()
	if _, err := caddy.GetModule(storeNamespace + "." + name); err != nil {
		return d.Errf("there is no store %q; there are: %s", name, strings.Join(storeNames(), ", "))
	}
	module, err := caddyfile.UnmarshalModule(d, storeNamespace+"."+name)
	if err != nil {
		return err
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(module, "store", name, nil)
	return nil
}

func (a *App) provisionStore(ctx caddy.Context) error {
	if a.StoreRaw == nil {
		a.StoreRaw = []byte(`{"store":"file"}`)
	}
	module, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	opener, ok := module.(StoreOpener)
	if !ok {
		return errors.New("store: the module is not a store")
	}
	a.opener = opener
	if a.EncryptionKey != "" {
		if err := placeholderOnly(a.EncryptionKey); err != nil {
			return fmt.Errorf("encryption_key: %w", err)
		}
	} else if _, forgets := opener.(*MemoryStore); opener.KeyFile() == "" && !forgets {
		return errors.New("this store needs an encryption_key: {env.NAME} or {file./path}")
	}
	taken, err := states.take(opener)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	a.state, a.users = taken, 1
	return nil
}

var (
	_ StoreOpener           = (*FileStore)(nil)
	_ caddy.Provisioner     = (*FileStore)(nil)
	_ caddyfile.Unmarshaler = (*FileStore)(nil)
	_ StoreOpener           = (*MemoryStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
