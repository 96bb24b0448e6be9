// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package toolgate puts users' credentials on the calls of AI agents. It is a module
// of the Caddy web server: importing it, as in
//
//	xcaddy build --with github.com/toolgate/toolgate
//
// registers the global option toolgate and the directives toolgate and
// toolgate_connect. The command in cmd/toolgate is a Caddy that has it built in.
//
// ARCHITECTURE.md says where everything is; gateway/serve.go follows one request
// from top to bottom.
package toolgate

import _ "github.com/toolgate/toolgate/caddymodule" // registers the modules
