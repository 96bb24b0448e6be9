// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// judge decides what the answer means for the connection, and keeps answers from
// the agent that are about the gateway's dealings with the provider. One that only
// says where a download lies becomes the download.
func (g *Gateway) judge(x *exchange) error {
	switch {
	case x.turnedDown:
		x.dropAnswer()
		if x.toolkit.Auth.PerUser {
			// Even a new token was refused. That may be one endpoint's whim,
			// so the connection stays as it is and is not refreshed for this
			// again so soon.
			g.cfg.Credentials.Rejected(x.in.Context(), x.grant, x.target.Path)
			return g.unauthorized(x, &connection.Unusable{Status: x.grant.Status, Reason: connection.ProviderRejected})
		}
		// No user can mend the operator's configuration by connecting.
		if x.toolkit.Auth.Kind == toolkit.NoAuth {
			return problem.New(problem.CredentialRejected, "provider_401", x.toolkit.Name+" wants a credential, and the gateway is configured without one. The operator has to check it.")
		}
		return problem.New(problem.CredentialRejected, "provider_401", x.toolkit.Name+" does not accept the gateway's credential. The operator has to check it.")
	case x.answer.StatusCode == http.StatusProxyAuthRequired:
		x.dropAnswer()
		return problem.New(problem.UpstreamUnreachable, "proxy_407", "A proxy on the way to "+x.toolkit.Name+" wants a login from the gateway. The operator has to check it.")
	}
	if x.lacking, x.granted = x.lackingScopes(); len(x.lacking) > 0 {
		// The grant stays as it is: it is good for other calls.
		g.cfg.Credentials.Worked(x.grant.Key)
		x.dropAnswer()
		return g.unauthorized(x, &connection.Unusable{Status: connection.Insufficient, Reason: connection.ScopeMissing})
	}
	if x.toolkit.Auth.PerUser && provesToken(x.answer.StatusCode) {
		g.cfg.Credentials.Worked(x.grant.Key)
	}
	if err := x.fetchDownload(); err != nil {
		return err
	}
	if status := x.answer.StatusCode; status < 100 || status > 999 {
		x.dropAnswer()
		// The server panics over one.
		return problem.New(problem.UpstreamUnreachable, "status", x.toolkit.Name+" answered with a status that is none.")
	}
	return x.boundAnswer()
}

// provesToken: a provider that is failing or too busy may not have looked at it.
func provesToken(status int) bool {
	return status < 500 && status != http.StatusTooManyRequests
}
