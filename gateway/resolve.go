// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/toolkit"
)

// resolve finds the toolkit and the address that the request is for.
func (g *Gateway) resolve(x *exchange) error {
	if err := plainRequest(x.in); err != nil {
		return err
	}
	path := x.in.URL.EscapedPath()
	id, rest, err := g.choose(x.mount.Site(x.in.Host), x.caller.Session.Only(), x.in.Header, path)
	if err != nil {
		return err
	}
	endpoint, known := g.cfg.Toolkits[id]
	if !known {
		return problem.New(problem.UnknownToolkit, "toolkit", "There is no toolkit "+quoted(id)+" here. Check the name in X-Toolkit or in the first segment of the path.")
	}
	x.toolkit, x.upstream, x.redirects, x.toolkits = endpoint.Toolkit, endpoint.Upstream, endpoint.Redirects, g.cfg.Toolkits
	if x.agent != nil && !x.agent.may(id) {
		return problem.New(problem.ToolkitForbidden, "toolkits", "The agent "+x.agent.Name+" may not use "+x.toolkit.Name+". The operator allows it with toolkits.")
	}
	if !x.caller.Session.May(id) {
		return problem.New(problem.ToolkitForbidden, "session", "The session is not for "+x.toolkit.Name+". The app that gave it out can make one that is.")
	}
	if x.toolkit.Draft() {
		return draft(x.toolkit)
	}
	x.path = rest
	if rest != path {
		x.cut, _ = firstSegment(path)
	}
	if x.account, err = account(x.in.Header, x.cut); err != nil {
		return err
	}
	x.target, err = x.toolkit.Target(rest, x.in.URL.RawQuery)
	switch {
	case errors.Is(err, toolkit.ErrAlias):
		return problem.New(problem.InvalidPath, "host_alias", x.toolkit.Name+" has no further host of this name.")
	case err != nil:
		return problem.New(problem.InvalidPath, "path", "The path has dot segments, backslashes or control characters, which servers read in different ways.")
	}
	x.origin, x.own = x.target.Scheme+"://"+x.target.Host, x.toolkit
	return nil
}

// draft says what the operator has left to do.
func draft(tk *toolkit.Toolkit) *problem.Problem {
	detail := tk.Name + " is not set up yet. The operator has to configure: " + strings.Join(tk.Missing, ", ") + "."
	if tk.RedirectURI != "" {
		detail += " The redirect URI to register with " + tk.Name + " is " + tk.RedirectURI + "."
	}
	return problem.New(problem.ToolkitDraft, "draft", detail)
}

// choose gives the toolkit's id and the path that is left: by the site, X-Toolkit, a
// session that is for one alone, or the path's first segment. A segment is cut off only if
// it was what chose: the paths of Google's calendar begin with "/calendar".
func (g *Gateway) choose(site, only string, h http.Header, path string) (id, rest string, err error) {
	named := h.Get("X-Toolkit")
	if _, given := h["X-Toolkit"]; given && !toolkit.ValidID(named) {
		return "", "", problem.New(problem.UnknownToolkit, "x-toolkit", "There is no toolkit "+quoted(named)+" here.")
	}
	segment, rest := firstSegment(path)
	segment, _, accounted := splitAccount(segment)
	_, segmentIsToolkit := g.cfg.Toolkits[segment]
	switch {
	case site != "" && named != "" && named != site:
		return "", "", ambiguous("This address is for the toolkit " + quoted(site) + ", and X-Toolkit names another.")
	case site != "":
		return site, path, nil
	case named != "" && segmentIsToolkit && segment != named:
		return "", "", ambiguous("X-Toolkit and the first segment of the path name different toolkits.")
	case named != "" && segmentIsToolkit && accounted:
		// X-Toolkit leaves the path whole, so this would go to the provider as it is, with
		// the token of another account than the one that it names.
		return "", "", ambiguous("X-Toolkit says that the path is the provider's, and its first segment names an account. Send X-Account, or leave X-Toolkit out.")
	case named != "":
		return named, path, nil
	case only != "" && segment == only && accounted:
		return "", "", ambiguous("The session is for one toolkit, so that the path is the provider's, and its first segment names an account. Send X-Account.")
	case only != "":
		return only, path, nil
	case segment == "":
		return "", "", problem.New(problem.ToolkitRequired, "toolkit", "Say which toolkit this call is for: in the first segment of the path, or in the header X-Toolkit.")
	default:
		return segment, rest, nil
	}
}

func ambiguous(detail string) *problem.Problem {
	return problem.New(problem.AmbiguousToolkit, "selectors", detail)
}

// firstSegment splits "/github/user" into "github" and "/user".
func firstSegment(escapedPath string) (segment, rest string) {
	escapedPath = strings.TrimPrefix(escapedPath, "/")
	if i := strings.IndexByte(escapedPath, '/'); i >= 0 {
		return escapedPath[:i], escapedPath[i:]
	}
	return escapedPath, "/"
}

// plainRequest refuses forms of a request that are not for a gateway of this kind.
func plainRequest(r *http.Request) error {
	switch method := strings.ToUpper(r.Method); { // some servers take trace for TRACE
	case method == "TRACE" || method == "TRACK" || method == "CONNECT":
		// The first two echo the credential; CONNECT asks for a tunnel.
		p := problem.New(problem.MethodRefused, "method", "The gateway does not forward "+r.Method+".")
		p.Allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
		return p
	case !httpguts.ValidHeaderFieldName(r.Method): // over HTTP/2 it can be anything; it has to be a token too
		return problem.New(problem.BadRequest, "method", "The method is not one word.")
	case r.URL.Host != "" || r.URL.Scheme != "" || r.URL.Opaque != "":
		return problem.New(problem.BadRequest, "absolute_form", "Send the path alone in the request line: the gateway is not a forward proxy.")
	case !strings.HasPrefix(r.URL.Path, "/"):
		return problem.New(problem.InvalidPath, "path", "The path has to begin with a slash.")
	case !r.ProtoAtLeast(1, 1) && r.Header["Content-Length"] == nil && (method == "POST" || method == "PUT" || method == "PATCH"):
		// RFC 1945 §8.3 wants it. net/http does not see chunks over HTTP/1.0, and
		// the upload would be sent on as an empty one.
		return problem.New(problem.BadRequest, "length", "Over HTTP/1.0 a body needs a Content-Length.")
	case strings.ContainsFunc(r.URL.RawQuery, notInQuery):
		return problem.New(problem.InvalidPath, "query", "The query has spaces, control characters or a #. Escape them.")
	}
	return nil
}

// notInQuery: over HTTP/2 a query may hold a space, which would end the address in
// an HTTP/1 request line, and a # hides from the provider what is put behind it.
func notInQuery(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }

// quoted shortens and cleans what an agent sent, for a sentence.
func quoted(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '<' || r == '>' || r == ':' {
			return -1
		}
		return r
	}, s)
	return `"` + clean[:min(len(clean), 64)] + `"`
}
