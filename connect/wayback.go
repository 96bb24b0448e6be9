// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/caller"
)

// outcome is what the operator's application is told, in the address that the browser
// comes back with. There is nothing else in it: who it was for, the application knows,
// and a code or a state would be good for something.
type outcome string

const (
	connected outcome = "connected" // all of it
	saidNo    outcome = "denied"    // by the user, at the provider
	cameApart outcome = "failed"    // for any other reason, which our page has told
	cancelled outcome = "cancelled" // by the user, here
)

// callback is the address of the operator's application for how a link came out, or "".
// The list of those that are allowed is looked at again: it may be shorter by now.
func (s *Service) callback(l *link, how outcome) string {
	if l.Callback == "" || !s.cfg.MayCallBack(caller.Caller{Tenant: l.Tenant, Agent: l.Agent, User: l.User}, l.Callback) {
		return ""
	}
	to, err := url.Parse(l.Callback)
	if err != nil {
		return "" // no such address gets on the list
	}
	var toolkits []string
	for _, p := range l.parts {
		toolkits = append(toolkits, p.Toolkit)
	}
	said := url.Values{"status": {string(how)}, "toolkit": {strings.Join(toolkits, ",")}}.Encode()
	if to.RawQuery != "" {
		said = to.RawQuery + "&" + said
	}
	to.RawQuery = said
	return to.String()
}

// sentBack is where the browser goes at the end of a part without a page of ours, or "":
// when everything is connected, and when the user said no. What else went wrong our page
// tells first, since there the user can try again; and so it is with a link for several,
// of which the user may still want the others.
func (s *Service) sentBack(p *part, failure string) string {
	switch {
	case failure == "" && p.done():
		return s.callback(p.link, connected)
	case failure == denied && !p.several():
		return s.callback(p.link, saidNo)
	}
	return ""
}

// wayBack is for a page on which something is still to do: the address for who gives up
// after a failure, and the host that the browser will go to.
func (s *Service) wayBack(p *part, notice string) (give, to string) {
	how := cameApart
	if p.Failure == denied {
		how = saidNo
	}
	address := s.callback(p.link, how)
	if u, err := url.Parse(address); err == nil {
		to = u.Host
	}
	if p.Failure == "" || notice == "" || p.several() {
		address = ""
	}
	return address, to
}
