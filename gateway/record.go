// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/problem"
)

// record writes the audit line. If it cannot be written, nothing leaves; the agent
// does not learn why.
func (g *Gateway) record(x *exchange) error {
	session := ""
	if s := x.caller.Session; s != nil {
		session = s.ID
	}
	err := g.cfg.Audit.Record(audit.Record{
		Time: x.start, Event: audit.Call, RequestID: x.id,
		Tenant: x.caller.Tenant, Agent: x.caller.Agent, User: x.caller.User,
		Toolkit: x.toolkit.ID, Connection: x.grant.ID, Session: session,
		Method: x.in.Method, Host: x.target.Host, Path: x.target.EscapedPath(),
	})
	if err != nil {
		p := problem.New(problem.AuditUnavailable, "audit", "The gateway cannot record this call at the moment, so it was not made.")
		p.RetryAfter = auditRetry
		return p.Because(err)
	}
	return nil
}
