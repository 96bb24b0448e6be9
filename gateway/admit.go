// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"
	"net/url"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/toolkit"
)

// Policy decides whether a call may be made now. Nil admits everything.
type Policy interface {
	// Admit judges a call before anybody looks for a credential. It returns nil or a
	// *problem.Problem.
	Admit(ctx context.Context, c *Call) error
	// Enter is asked once the connection is known, right before the call is recorded and
	// leaves. It may wait. A visit that is not nil is left in the end, also by a call
	// that is not made after all.
	Enter(ctx context.Context, c *Call) (Visit, error)
	// Reads reports whether a call is known to change nothing at the provider.
	Reads(c *Call) bool
}

// Call is what a policy judges. It is read alone.
type Call struct {
	Caller  caller.Caller
	Toolkit *toolkit.Toolkit
	Method  string
	// Path is that of the toolkit, escaped, byte for byte as it will be sent behind the
	// path of the host, which is BaseURL's or, for /~alias/…, another's.
	Path  string
	Query string
	// Target is where the call goes. Before the connection is known, variables stand in
	// it as they are written.
	Target *url.URL
	Header http.Header // the agent's
	Body   Peeker
	// Connection is the one whose credential is put on; zero in Admit, and where it is
	// the operator's.
	Connection connection.Key
}

// Peeker looks ahead into a body, which still goes on whole.
type Peeker interface {
	// Peek gives up to so many bytes of the beginning, and whether they are all. It may
	// wait for them.
	Peek(limit int) (head []byte, whole bool, err error)
}

// admit asks the policy, which sees the address that will really be called. A variable
// stands in it as it is written, so that a rule holds for every connection.
func (g *Gateway) admit(x *exchange) error {
	if err := x.boundUpload(); err != nil {
		return err
	}
	if g.cfg.Policy == nil {
		return nil
	}
	x.call = &Call{
		Caller: x.caller, Toolkit: x.toolkit, Method: x.in.Method, Path: x.path, Query: x.target.RawQuery,
		Target: x.target, Header: x.in.Header, Body: x.body,
	}
	return g.cfg.Policy.Admit(x.in.Context(), x.call)
}
