// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"

	"github.com/toolgate/toolgate/toolkit"
)

// newDownloads is the way to the redirect hosts; nil where the toolkit has none.
// Nothing in it proves who the operator is. All of these hosts are guarded, whoever
// wrote them, since the provider chooses which one is called, and with which path.
// What else is dialled is a forward proxy.
func newDownloads(ctx caddy.Context, tk *toolkit.Toolkit, raw json.RawMessage, allowPrivate bool) (*transport, error) {
	if len(tk.RedirectHosts) == 0 {
		return nil, nil
	}
	options, err := transportOptions(tk, raw)
	if err != nil {
		return nil, err
	}
	if o := options.TLS; o != nil {
		o.ClientCertificateFile, o.ClientCertificateKeyFile, o.ClientCertificateAutomate = "", "", ""
		o.ServerName = "" // the toolkit's; other hosts have no certificate for it
	}
	return loadTransport(ctx, options, func(host string) bool { return !allowPrivate && tk.RedirectHost(host) })
}
