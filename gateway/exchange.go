// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/toolkit"
)

// exchange is everything known about one request, filled from top to bottom: a
// step may read what stands above its own lines.
type exchange struct {
	// begin
	id    string
	start time.Time
	mount Mount
	in    *http.Request // as the agent sent it; never changed
	w     http.ResponseWriter
	body  *replay // of in
	step  string

	trailer []string // names that in announces and that may go on

	interim interim // answers such as 103, on their way past

	// identify
	caller caller.Caller
	agent  *Agent // nil where none is configured
	// callback is where the user's browser goes after connecting; "" is nowhere.
	callback string

	// resolve
	toolkit   *toolkit.Toolkit
	path      string // of the toolkit, escaped
	origin    string // of target as it is configured, maybe with a variable in it
	upstream  http.RoundTripper
	redirects http.RoundTripper   // nil: none is followed
	toolkits  map[string]Endpoint // all that there are
	target    *url.URL
	cut       string // the path's first segment, which chose the toolkit and was cut off
	account   string // as the agent names it; "" is the user's default

	// admit
	call *Call // what a policy is asked about; nil where there is none

	// authorize, which also puts the connection's variables into target
	own        *toolkit.Toolkit      // toolkit at the addresses of grant
	grant      connection.Connection // zero where the operator's key is used
	since      uint64                // how many grants had been taken back when it was read
	credential credential.Credential
	secrets    []string // of credential and those before it

	// enter
	visit   Visit // nil: nobody wants to know
	bounded bound // in time

	// send
	answer     *http.Response
	renewed    bool     // the token was refused and renewed on the way
	turnedDown bool     // answer says that the credential is no good
	lacking    []string // scopes that answer asks for and that were not granted
	granted    []string // and those that were, where there are such

	// judge
	download *url.URL // where answer is from, if not from target; a secret

	outcome outcome
}

// begin starts an exchange.
func (g *Gateway) begin(w http.ResponseWriter, r *http.Request, m Mount) *exchange {
	x := &exchange{id: rand.Text(), start: g.cfg.Now(), mount: m, in: r, w: w, body: newReplay(r)}
	// Now, because the server writes to the map while it reads the body. Some
	// servers merge a trailer into the header, so it may not hold what routes or
	// frames a request either (RFC 9110 §6.5.1), such as another method: a policy has
	// judged the call before a trailer comes.
	for name := range r.Trailer {
		if !credential.Withheld(name) && !strings.Contains(strings.ToLower(name), "method") && httpguts.ValidTrailerHeader(name) {
			x.trailer = append(x.trailer, name)
		}
	}
	w.Header().Set("X-Toolgate-Request-Id", x.id)
	return x
}

// key names the connection that the agent means.
func (x *exchange) key() connection.Key {
	return connection.Key{Tenant: x.caller.Tenant, User: x.caller.User, Toolkit: x.toolkit.ID, Account: x.account}
}
