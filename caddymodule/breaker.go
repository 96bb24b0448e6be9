// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/policy"
)

const breakerLong = `
A provider's host that keeps failing is left alone for ten seconds; then one call is let
through to see. These commands ask the running gateway how that stands, through its admin
endpoint, which they find by the configuration.`

func breakerCommand() caddycmd.Command {
	return caddycmd.Command{
		Name: "breaker", Usage: "list|reset", Short: "The circuit breakers of providers' hosts", Long: breakerLong,
		CobraFunc: func(cmd *cobra.Command) {
			list := officeCommand("list", "Lists the hosts that were called of late, and which are left alone", breakerListLong, true, listBreakers)
			reset := officeCommand("reset [TOOLKIT...]", "Lets calls through again at once", breakerResetLong, true, resetBreakers)
			reset.Args = cobra.ArbitraryArgs
			reset.Flags().Bool("all", false, "Those of all toolkits")
			cmd.AddCommand(list, reset)
		},
	}
}

const breakerListLong = `
Lists the hosts that were called of late: calls and failures of the last 30 seconds, and
how many users the failures were of. Of one that is open or half-open only those count
that were let through to see.`

const breakerResetLong = `
Closes the circuit breakers of toolkits, or of all with --all, and forgets the failures
that opened them. Should the provider still be ill, they open again.`

// breakersFound are all of a gateway's.
type breakersFound struct {
	// Breakers are sorted by toolkit and host.
	Breakers []policy.BreakerInfo `json:"breakers"`
}

// breakersMeant are a toolkit's, or all.
type breakersMeant struct {
	// Toolkit is a toolkit's id; empty: all.
	Toolkit string `json:"toolkit"`
}

// breakersReset is what was done.
type breakersReset struct {
	// Closed is how many were not closed before.
	Closed int `json:"closed"`
}

var errNoGateway = errors.New("no gateway runs here that can be asked: circuit breakers are in its memory")

func findBreakers(_ context.Context, p *workplace, _ struct{}) (breakersFound, error) {
	if p.policy == nil {
		return breakersFound{}, errNoGateway
	}
	return breakersFound{p.policy.Breakers(time.Now())}, nil
}

func closeBreakers(_ context.Context, p *workplace, in breakersMeant) (breakersReset, error) {
	switch {
	case p.policy == nil:
		return breakersReset{}, errNoGateway
	case in.Toolkit != "" && p.app.Toolkits[in.Toolkit] == nil:
		return breakersReset{}, fmt.Errorf("there is no toolkit %s", in.Toolkit)
	}
	n := p.policy.ResetBreakers(in.Toolkit)
	p.app.log.Info("circuit breakers were reset by a command", zap.String("toolkit", in.Toolkit), zap.Int("were_open", n))
	return breakersReset{n}, nil
}

func listBreakers(cmd *cobra.Command, o *office, _ []string) error {
	var found breakersFound
	if err := o.ask("breakers/list", struct{}{}, &found); err != nil {
		return err
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "TOOLKIT\tHOST\tSTATE\tCALLS\tFAILED\tUSERS\t")
	for _, b := range found.Breakers {
		state := b.State
		if b.OpenFor > 0 {
			state += ", a call is let through in " + b.OpenFor.Round(time.Second).String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t\n", b.Toolkit, b.Host, state, b.Calls, b.Failures, b.Users)
	}
	return nil
}

func resetBreakers(cmd *cobra.Command, o *office, toolkits []string) error {
	every := caddycmd.Flags{FlagSet: cmd.Flags()}.Bool("all")
	switch {
	case every == (len(toolkits) > 0):
		return errors.New("say which: name toolkits, or --all")
	case every:
		toolkits = []string{""}
	}
	closed := 0
	for _, id := range toolkits {
		var done breakersReset
		if err := o.ask("breakers/reset", breakersMeant{id}, &done); err != nil {
			return err
		}
		closed += done.Closed
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s closed\n", count(closed, "breaker"))
	return nil
}

// logBreaker writes a line whenever a breaker changes. The logger is the process's: what
// has a breaker outlives a configuration.
func logBreaker(toolkit, host, state string) {
	log := caddy.Log().Named("toolgate")
	fields := []zap.Field{zap.String("toolkit", toolkit), zap.String("host", host)}
	switch state {
	case "open":
		log.Warn("a provider keeps failing; it is left alone for a moment", fields...)
	case "closed":
		log.Info("a provider is well again", fields...)
	}
}
