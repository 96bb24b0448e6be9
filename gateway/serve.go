// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import "net/http"

// This file is the story of a request; read it from the top. Each step is a
// method in the file of its name, and sets only its own lines of the exchange.
// Nothing writes to w but relay and refuse (and, for a 103 on its way, send), and
// nothing but refuse turns an error into a response.

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, m Mount) {
	x := g.begin(w, r, m)
	defer g.finish(x) // one event per request, however it ends
	if err := g.carry(x); err != nil {
		g.refuse(x, err)
		return
	}
	g.relay(x)
}

func (g *Gateway) carry(x *exchange) error {
	for _, step := range steps {
		x.step = step.name
		if err := step.take(g, x); err != nil {
			return err
		}
	}
	return nil
}

var steps = [...]struct {
	name string
	take func(*Gateway, *exchange) error
}{
	{"identify", (*Gateway).identify},   // who calls, and for whom?
	{"resolve", (*Gateway).resolve},     // which toolkit, which address?
	{"admit", (*Gateway).admit},         // may this call be made now?
	{"authorize", (*Gateway).authorize}, // a credential that works now, or a link
	{"enter", (*Gateway).enter},         // is there room at the provider?
	{"record", (*Gateway).record},       // on paper before it leaves
	{"send", (*Gateway).send},           // out, and once more after a 401
	{"judge", (*Gateway).judge},         // what does the answer mean?
}
