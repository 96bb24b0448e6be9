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

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

const linksLong = `
The links that users open to connect. Each lives for minutes; the store keeps it for a
day after that, so that who opens it late is told what happened.

A link is called by the first characters of a hash, since with its address anybody could
open it.`

func linksCommand() caddycmd.Command {
	return caddycmd.Command{
		Name: "links", Usage: "list|revoke", Short: "The links that users open to connect", Long: linksLong,
		CobraFunc: func(cmd *cobra.Command) {
			list := officeCommand("list", "Lists links that still work", linksListLong, false, listLinks)
			linkFlags(list)
			list.Flags().Bool("all", false, "Those too that are done, expired or cancelled")
			revoke := officeCommand("revoke [LINK...]", "Ends links", linksRevokeLong, false, revokeLinks)
			linkFlags(revoke)
			revoke.Args = cobra.ArbitraryArgs
			revoke.Flags().Bool("all", false, "Every link that still works")
			cmd.AddCommand(list, revoke)
		},
	}
}

const linksListLong = `
Lists the links with which something can still be connected, or with --all every one that
the store keeps: for which agent and user, for which toolkits, and how far it has come.`

const linksRevokeLong = `
Ends links: those that are named, those of a user or an agent, or all. Nothing can be
connected with them any more, and a sign-in that is under way ends as well. Connections
that are there stay; the agent gets a new link with its next call.`

func linkFlags(cmd *cobra.Command) {
	cmd.Flags().String("user", "", "Those of this user")
	cmd.Flags().String("agent", "", "Those that this agent asked for")
	cmd.Flags().String("tenant", "", "Those of this tenant")
}

// linkFilter says which links are meant.
type linkFilter struct {
	custody.Step
	// Tenant is that of the links; empty: any.
	Tenant string `json:"tenant,omitempty"`
	// Agent is who asked for them; empty: any.
	Agent string `json:"agent,omitempty"`
	// User is whom they are for; empty: any.
	User string `json:"user,omitempty"`
	// Over has those too that are over.
	Over bool `json:"over,omitempty"`
}

func (f linkFilter) takes(l connect.LinkInfo) bool {
	return (f.Over || l.Live()) && cmp.Or(f.Tenant, l.Tenant) == l.Tenant && cmp.Or(f.Agent, l.Agent) == l.Agent && cmp.Or(f.User, l.User) == l.User
}

// linksFound are those of a step.
type linksFound struct {
	custody.Place
	// Links do not hold their addresses.
	Links []connect.LinkInfo `json:"links"`
}

func (p *workplace) links() *connect.Links {
	return &connect.Links{Vault: p.vault, Audit: p.audit, Now: time.Now}
}

// findLinks looks at a step's links. Their records stand together in the store.
func findLinks(ctx context.Context, p *workplace, in linkFilter) (linksFound, error) {
	scanner, ok := p.store.(store.Scanner)
	if !ok {
		return linksFound{}, custody.ErrCannotScan
	}
	after, prefix, further := shelf(string(in.After))
	records, err := scanner.Scan(ctx, after, custody.DefaultLimit)
	found := linksFound{Place: custody.Place{Seen: len(records)}}
	over := len(records) < custody.DefaultLimit
	if unreadable, ok := errors.AsType[*store.UnreadableError](err); ok {
		found.Next, over, err = []byte(unreadable.Key), !strings.HasPrefix(unreadable.Key, prefix), nil
	} else if len(records) > 0 {
		found.Next = []byte(records[len(records)-1].Key)
	}
	if err != nil {
		return linksFound{}, err
	}
	if i := slices.IndexFunc(records, func(r store.Record) bool { return !strings.HasPrefix(r.Key, prefix) }); i >= 0 {
		records, over = records[:i], true
	}
	if found.Done = over && further == ""; over && !found.Done {
		found.Next = []byte(further)
	}
	for _, r := range records {
		l, err := p.links().About(ctx, r.Key)
		switch {
		case errors.Is(err, store.ErrNotFound), vault.OfOneRecord(err):
			continue // it has gone, or cannot be opened by anybody
		case err != nil:
			return linksFound{}, err
		case in.takes(l):
			found.Links = append(found.Links, l)
		}
	}
	return found, nil
}

// shelf says where to go on after a record: which prefix the links there have, and which
// comes after those. Links for a certain account stand apart from all others.
func shelf(after string) (from, prefix, further string) {
	prefixes := connect.LinkPrefixes()
	for i, p := range prefixes {
		if further = ""; i+1 < len(prefixes) {
			further = prefixes[i+1]
		}
		if after <= p || strings.HasPrefix(after, p) {
			return max(after, p), p, further
		}
	}
	return after, prefixes[len(prefixes)-1], ""
}

// linkNames are links to be ended.
type linkNames struct {
	// Refs are as listed, whole.
	Refs []string `json:"refs"`
}

// linksEnded says how many were.
type linksEnded struct {
	// Ended leaves out those that were over.
	Ended int `json:"ended"`
}

func endLinks(ctx context.Context, p *workplace, in linkNames) (done linksEnded, err error) {
	for _, ref := range in.Refs {
		for _, prefix := range connect.LinkPrefixes() { // it stands in one of two places
			did, err := p.links().Revoke(ctx, prefix+ref)
			if err != nil {
				return done, err
			}
			if did {
				done.Ended++
			}
		}
	}
	return done, nil
}

// endLinksOf is for when a user is forgotten: a sign-in that is at work just now then
// takes back what it saves.
func endLinksOf(ctx context.Context, p *workplace, in ofUser) (done linksEnded, err error) {
	if in.Tenant == "" || in.User == "" {
		return done, errNobody
	}
	done.Ended, err = p.links().RevokeOf(ctx, in.Tenant, in.User)
	return done, err
}

func filterOf(cmd *cobra.Command) linkFilter {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	return linkFilter{Tenant: flags.String("tenant"), Agent: flags.String("agent"), User: flags.String("user")}
}

// shortRef is enough of a link's name to tell it from others.
const shortRef = 12

func listLinks(cmd *cobra.Command, o *office, _ []string) error {
	in := filterOf(cmd)
	in.Over = caddycmd.Flags{FlagSet: cmd.Flags()}.Bool("all")
	all, err := o.linksThat(cmd, in)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LINK\tTENANT\tAGENT\tUSER\tTOOLKITS\tSTATE\tENDS")
	for _, l := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Ref[:min(shortRef, len(l.Ref))], l.Tenant, l.Agent, l.User, strings.Join(l.Toolkits, " "), l.State, l.Expires.UTC().Format(time.RFC3339))
	}
	return table.Flush()
}

func (o *office) linksThat(cmd *cobra.Command, in linkFilter) (all []connect.LinkInfo, err error) {
	step := func(s custody.Step) any { in.Step = s; return in }
	err = walk(o, "links/list", step, newProgress(cmd.ErrOrStderr(), "links looked at"), nil, func(f linksFound) (custody.Place, error) {
		all = append(all, f.Links...)
		return f.Place, nil
	})
	return all, err
}

func revokeLinks(cmd *cobra.Command, o *office, names []string) error {
	in := filterOf(cmd)
	every := caddycmd.Flags{FlagSet: cmd.Flags()}.Bool("all")
	narrowed := in.Tenant != "" || in.Agent != "" || in.User != ""
	switch {
	case len(names) == 0 && !narrowed && !every:
		return errors.New("say which: name links as `links list` does, or those of a --user, an --agent or a --tenant, or --all")
	case len(names) > 0 && (narrowed || every), narrowed && every:
		return errors.New("either name links, or say whose, or --all")
	}
	in.Over = true // a user who comes late goes on from there
	all, err := o.linksThat(cmd, in)
	if err != nil {
		return err
	}
	refs, err := chosen(all, names)
	if err != nil {
		return err
	}
	ended := 0
	for len(refs) > 0 {
		n := min(len(refs), custody.DefaultLimit)
		var done linksEnded
		if err := o.ask("links/revoke", linkNames{refs[:n]}, &done); err != nil {
			return fmt.Errorf("%s ended, and then: %w", count(ended, "link"), err)
		}
		ended, refs = ended+done.Ended, refs[n:]
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s ended\n", count(ended, "link"))
	return nil
}

// chosen gives the whole names of links. A short one has to mean one link.
func chosen(all []connect.LinkInfo, names []string) (refs []string, err error) {
	if len(names) == 0 {
		for _, l := range all {
			refs = append(refs, l.Ref)
		}
		return refs, nil
	}
	for _, name := range names {
		var of []string
		for _, l := range all {
			if strings.HasPrefix(l.Ref, name) {
				of = append(of, l.Ref)
			}
		}
		switch {
		case len(name) < 6:
			return nil, fmt.Errorf("%q is too short to name a link", name)
		case len(of) == 0:
			return nil, fmt.Errorf("there is no link %s", name)
		case len(of) > 1:
			return nil, fmt.Errorf("%s could be %d links: write more of it", name, len(of))
		}
		refs = append(refs, of[0])
	}
	return refs, nil
}
