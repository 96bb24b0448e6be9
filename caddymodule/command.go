// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "toolgate",
		Short: "Commands of the Toolgate module",
		CobraFunc: func(cmd *cobra.Command) {
			for _, c := range Commands() {
				sub := &cobra.Command{Use: c.Name + " " + c.Usage, Short: c.Short, Long: c.Long, SilenceUsage: true, SilenceErrors: true}
				c.CobraFunc(sub)
				cmd.AddCommand(sub)
			}
		},
	})
}

// Commands are Toolgate's own commands, for a binary that wants them at the top.
func Commands() []caddycmd.Command {
	return []caddycmd.Command{
		demoCommand(), keysCommand(), storeCommand(), connectionsCommand(), linksCommand(), sessionsCommand(), usersCommand(),
		breakerCommand(), explainCommand(),
	}
}
