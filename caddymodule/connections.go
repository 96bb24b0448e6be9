// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

const connectionsListLong = `
Lists the connections that users have made: to which account, how they stand, and which
agents may use them. A user decides that on the page of what they have connected; "all"
are those from before users were asked. Tokens are not shown.`

func listConnectionsCommand() *cobra.Command {
	cmd := officeCommand("list", "Lists the connections of users", connectionsListLong, false, listConnections)
	cmd.Flags().String("user", "", "Those of this user")
	cmd.Flags().String("agent", "", "Those that this agent may use")
	cmd.Flags().StringP("toolkit", "t", "", "Those to this toolkit")
	cmd.Flags().String("tenant", "", "Those of this tenant")
	return cmd
}

// connectionFilter says which connections are meant.
type connectionFilter struct {
	custody.Step
	// Tenant is that of the user; empty: any.
	Tenant string `json:"tenant,omitempty"`
	// User is whose they are; empty: any.
	User string `json:"user,omitempty"`
	// Toolkit is what they are to; empty: any.
	Toolkit string `json:"toolkit,omitempty"`
}

func (f connectionFilter) takes(k connection.Key) bool {
	return cmp.Or(f.Tenant, k.Tenant) == k.Tenant && cmp.Or(f.User, k.User) == k.User && cmp.Or(f.Toolkit, k.Toolkit) == k.Toolkit
}

// connectionInfo is a connection without its secrets.
type connectionInfo struct {
	// ID is how agents may call it.
	ID string `json:"id"`
	// Tenant is that of the user.
	Tenant string `json:"tenant"`
	// User is whose it is.
	User string `json:"user"`
	// Toolkit is what it is to.
	Toolkit string `json:"toolkit"`
	// Account is the provider's name for it, or else the user's.
	Account string `json:"account"`
	// Status is how it stands; empty: its record cannot be read.
	Status connection.Status `json:"status"`
	// ReadOnly: its user allows reading only.
	ReadOnly bool `json:"read_only,omitempty"`
	// Agents are those that may use it; nil: all.
	Agents []string `json:"agents"`
	// LastUsed is zero where it was not used.
	LastUsed time.Time `json:"last_used,omitzero"`
}

// connectionsFound are those of a step.
type connectionsFound struct {
	custody.Place
	// Connections hold no secret.
	Connections []connectionInfo `json:"connections"`
}

// findConnections looks at a step's connections. Their records stand together in the store.
func findConnections(ctx context.Context, p *workplace, in connectionFilter) (connectionsFound, error) {
	scanner, ok := p.store.(store.Scanner)
	if !ok {
		return connectionsFound{}, custody.ErrCannotScan
	}
	records, err := scanner.Scan(ctx, max(string(in.After), vault.ConnectionPrefix), custody.DefaultLimit)
	found := connectionsFound{Place: custody.Place{Seen: len(records), Done: len(records) < custody.DefaultLimit}}
	if unreadable, ok := errors.AsType[*store.UnreadableError](err); ok {
		found.Next, found.Done, err = []byte(unreadable.Key), !strings.HasPrefix(unreadable.Key, vault.ConnectionPrefix), nil
	} else if len(records) > 0 {
		found.Next = []byte(records[len(records)-1].Key)
	}
	if err != nil {
		return connectionsFound{}, err
	}
	for _, r := range records {
		if !strings.HasPrefix(r.Key, vault.ConnectionPrefix) {
			found.Done = true
			break
		}
		key, ok := vault.ConnectionKey(r.Key)
		if !ok || !in.takes(key) {
			continue
		}
		c, err := p.vault.Load(ctx, key)
		switch {
		case errors.Is(err, connection.ErrNotConnected):
			continue // it has gone
		case vault.OfOneRecord(err):
			c = connection.Connection{Key: key}
		case err != nil:
			return connectionsFound{}, err
		}
		found.Connections = append(found.Connections, connectionInfo{
			ID: c.ID, Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit, Account: cmp.Or(c.AccountLabel, c.Label), Status: c.Status, ReadOnly: c.ReadOnly, Agents: c.Agents, LastUsed: c.LastUsed,
		})
	}
	return found, nil
}

func listConnections(cmd *cobra.Command, o *office, _ []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	in := connectionFilter{Tenant: flags.String("tenant"), User: flags.String("user"), Toolkit: flags.String("toolkit")}
	agent := flags.String("agent")
	var all []connectionInfo
	step := func(s custody.Step) any { in.Step = s; return in }
	err := walk(o, "connections/list", step, newProgress(cmd.ErrOrStderr(), "connections looked at"), nil, func(f connectionsFound) (custody.Place, error) {
		all = append(all, f.Connections...)
		return f.Place, nil
	})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CONNECTION\tTENANT\tUSER\tTOOLKIT\tACCOUNT\tSTATUS\tAGENTS\tLAST USED")
	for _, c := range all {
		if agent == "" || c.Agents == nil && c.Status != "" || slices.Contains(c.Agents, agent) {
			fmt.Fprintln(table, strings.Join(c.line(), "\t"))
		}
	}
	return table.Flush()
}

// line is what the table shows, with a dash where there is nothing.
func (c connectionInfo) line() []string {
	agents, used := "all", ""
	if c.Agents != nil {
		agents = strings.Join(c.Agents, ",")
	}
	if c.Status == "" {
		agents = ""
	}
	status := cmp.Or(string(c.Status), "unreadable")
	if c.ReadOnly {
		status += ", reading only"
	}
	if !c.LastUsed.IsZero() {
		used = c.LastUsed.UTC().Format(time.RFC3339)
	}
	line := []string{c.ID, c.Tenant, c.User, c.Toolkit, c.Account, status, agents, used}
	for i := range line {
		line[i] = cmp.Or(harmless(line[i]), "-")
	}
	return line
}

// harmless is for a terminal: a name that came from elsewhere must not move its cursor, nor
// the columns of the table.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
