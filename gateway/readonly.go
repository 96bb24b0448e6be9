// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/problem"
)

// readOnly is the rule by which a call is refused that its user does not allow: it is no
// read, and they allow reading only.
const readOnly = "read_only"

// reading refuses a call that is not a read over a connection whose user allows no other.
// What only reads is said by the toolkit; where that has come to say nothing, nothing does.
func (g *Gateway) reading(x *exchange, grant connection.Connection) error {
	if !grant.ReadOnly {
		return nil
	}
	what := g.writing(x)
	if what == "" {
		return nil
	}
	detail := "The user allows reading only over their " + x.toolkit.Name + " connection, and " + what + ". Nothing was sent."
	if reads := x.toolkit.Reading.Methods; len(reads) > 0 {
		detail += " What reads goes on working: " + strings.Join(reads, ", ") + "."
	}
	detail += " Do not look for another way to do it."
	if g.cfg.ManageURL != "" {
		detail += " If it has to be done, ask the user: they can allow it at " + g.cfg.ManageURL + "."
	} else {
		detail += " If it has to be done, ask the user."
	}
	p := problem.New(problem.NotPermitted, readOnly, detail)
	p.Toolkit = &problem.Toolkit{ID: x.toolkit.ID, Name: x.toolkit.Name}
	p.User = x.caller.User
	p.Connection = &problem.Connection{Status: string(grant.Status), Reason: readOnly, Account: x.account}
	return p
}

// writing says why the call is not a read; "" where it is one.
func (g *Gateway) writing(x *exchange) string {
	switch upgrade := credential.UpgradeType(x.in.Header); {
	case !g.reads(x):
		return x.in.Method + " is not known to only read here"
	case upgrade != "":
		// What is sent after it is seen by nobody.
		return "behind a change to another protocol (Upgrade) anything can be sent"
	case overridesMethod(x.in.Header, x.in.URL.RawQuery):
		return "a call that names another method than its own is not a read"
	}
	return ""
}

// reads goes by methods where there is no policy, which knows of paths and bodies too.
func (g *Gateway) reads(x *exchange) bool {
	if g.cfg.Policy != nil {
		return g.cfg.Policy.Reads(x.call)
	}
	return slices.Contains(x.toolkit.Reading.Methods, x.in.Method)
}

// overrides are the names by which servers let a call say that another method is meant
// than its own, for clients that cannot send that one. They are compared as overriding has
// them: CGI makes one name of - and _, and PHP of a dot or a space and _.
var overrides = []string{"-method", "x-http-method", "x-http-method-override", "x-method-override"}

func overriding(name string) bool {
	name, _, _ = strings.Cut(name, "[") // of a list, as in PHP and Rails
	return slices.Contains(overrides, strings.NewReplacer("_", "-", ".", "-", " ", "-").Replace(strings.ToLower(name)))
}

func overridesMethod(h http.Header, query string) bool {
	for name := range h {
		if overriding(name) {
			return true
		}
	}
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if overriding(name) {
			return true
		}
	}
	return false
}
