// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/toolgate/toolgate/gateway"
)

func init() { caddy.RegisterModule(Permission{}) }

// Permission lets Caddy get a certificate on demand for the hosts by which calls name
// their toolkit, and for no other: with it, `*.gw.example.com` needs no DNS plug-in.
type Permission struct {
	// The patterns, as in the directive `toolgate`: `*.gw.example.com`.
	Hosts []string `json:"hosts,omitempty"`

	app   *App
	mount gateway.Mount
}

// CaddyModule returns the Caddy module information.
func (Permission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.toolgate", New: func() caddy.Module { return new(Permission) }}
}

// Provision finds the app.
func (p *Permission) Provision(ctx caddy.Context) (err error) {
	if p.app, err = appOf(ctx); err != nil {
		return err
	}
	p.mount = gateway.Mount{Hosts: p.Hosts}
	return p.mount.Validate()
}

// CertificateAllowed implements caddytls.OnDemandPermission.
func (p *Permission) CertificateAllowed(_ context.Context, name string) error {
	if _, known := p.app.toolkits[p.mount.Site(name)]; !known {
		return fmt.Errorf("%s is not the host of a toolkit: %w", name, caddytls.ErrPermissionDenied)
	}
	return nil
}

// UnmarshalCaddyfile sets up the module from Caddyfile tokens, within
// `on_demand_tls`:
//
//	permission toolgate {
//		hosts <pattern>...
//	}
func (p *Permission) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Err("permission toolgate takes a block with hosts")
	}
	return parseBlock(d, "permission toolgate", options{
		"hosts": {"hosts <pattern>..., such as hosts *.gw.example.com", texts(&p.Hosts)},
	})
}

var (
	_ caddy.Provisioner           = (*Permission)(nil)
	_ caddytls.OnDemandPermission = (*Permission)(nil)
	_ caddyfile.Unmarshaler       = (*Permission)(nil)
)
