// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// grantsIn are lines of a file of grants.
type grantsIn struct {
	// Toolkit is the one whose connections they become.
	Toolkit string `json:"toolkit"`
	// Tenant is of the lines that name none.
	Tenant string `json:"tenant,omitempty"`
	// Format is how each is written.
	Format custody.Format `json:"format"`
	// From is how the other program calls the toolkit.
	From string `json:"from,omitempty"`
	// Force replaces connections that are active.
	Force bool `json:"force,omitempty"`
	// DryRun checks, and writes nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Lines are the grants, as they stand in the file.
	Lines []custody.Numbered `json:"lines"`
}

// grantOut is what became of a line.
type grantOut struct {
	// Number is the line's in the file.
	Number int `json:"number"`
	// Outcome is empty for a bad line.
	Outcome custody.Brought `json:"outcome,omitempty"`
	// Brief: there is nothing to renew the access with.
	Brief bool `json:"brief,omitempty"`
	// Error says what is wrong and quotes nothing of the line.
	Error string `json:"error,omitempty"`
}

func importGrants(ctx context.Context, p *workplace, in grantsIn) ([]grantOut, error) {
	tk, err := p.app.importable(in.Toolkit)
	if err != nil {
		return nil, err
	}
	if err := p.vault.Check(ctx); err != nil {
		return nil, err // or there would be records of two rings in one store
	}
	b := &custody.Bringer{Vault: p.vault, Toolkit: tk, Tenant: in.Tenant, Force: in.Force, DryRun: in.DryRun, Now: time.Now, Record: p.recordImport}
	var out []grantOut
	for _, line := range in.Lines {
		g, err := custody.ParseGrant(in.Format, line.Text)
		if err == nil && g.Toolkit != "" && g.Toolkit != in.From {
			err = fmt.Errorf("%w than %s", custody.ErrOtherToolkit, in.From)
		}
		if err != nil {
			out = append(out, grantOut{Number: line.Number, Error: err.Error()})
			continue
		}
		outcome, conn, err := b.Bring(ctx, g)
		if vault.OfOneRecord(err) || errors.Is(err, custody.ErrVariables) {
			out = append(out, grantOut{Number: line.Number, Error: err.Error()})
			continue
		}
		if err != nil {
			// The store's or the log's: it goes for all lines that follow.
			return nil, fmt.Errorf("at %d: %w", line.Number, err)
		}
		if outcome != custody.Kept && !in.DryRun && p.connected != nil {
			p.connected(conn)
		}
		out = append(out, grantOut{Number: line.Number, Outcome: outcome, Brief: outcome != custody.Kept && g.RefreshToken.IsZero()})
	}
	return out, nil
}

// importable gives a toolkit that users connect to, and whose client is known: a
// connection is for one client, and for no other one.
func (a *App) importable(id string) (*toolkit.Toolkit, error) {
	way := a.toolkits[id]
	switch {
	case way == nil:
		return nil, fmt.Errorf("there is no toolkit %q in this configuration; there are: %v", id, sortedKeys(a.toolkits))
	case way.toolkit.OAuth == nil && way.toolkit.Auth.PerUser:
		return nil, fmt.Errorf("users of the toolkit %s enter their own keys, and keys are not taken in", id)
	case way.toolkit.OAuth == nil:
		return nil, fmt.Errorf("users do not connect to the toolkit %s: it works with the operator's own key", id)
	case way.toolkit.OAuth.ClientID == "":
		return nil, fmt.Errorf("the toolkit %s has no client_id yet, and a connection is for one client", id)
	}
	return way.toolkit, nil
}

func (p *workplace) recordImport(c connection.Connection) error {
	return p.audit.Record(audit.Record{
		Time: time.Now(), Event: audit.Connected, Tenant: c.Tenant, User: c.User, Toolkit: c.Toolkit, Connection: c.ID, Reason: "imported",
	})
}
