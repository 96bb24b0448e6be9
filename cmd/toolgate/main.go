// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Command toolgate is the Caddy web server with Toolgate built in. Besides Caddy's
// commands it has Toolgate's own, such as demo.
package main

import (
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // Caddy's own modules

	"github.com/toolgate/toolgate/caddymodule"
)

func main() {
	caddy.CustomBinaryName = "toolgate"
	caddy.CustomLongDescription = "Toolgate is a gateway for AI agents: they call APIs through it without holding a secret,\n" +
		"and it puts each user's own credential on the call. It is the Caddy web server with one\n" +
		"module more, so everything that Caddy can do, it can do.\n\nTry it:\n\n\t$ toolgate demo"
	// In a Caddy that was built with the module they stand below `caddy toolgate`.
	for _, command := range caddymodule.Commands() {
		caddycmd.RegisterCommand(command)
	}
	caddycmd.Main()
}
