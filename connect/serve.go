// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/toolgate/toolgate/problem"
)

// visit is one request of a browser or an agent to our own pages.
type visit struct {
	w  http.ResponseWriter
	r  *http.Request
	id string // of the request, for pages and logs
}

// Handles reports whether the request is for the service: one of its own paths, on
// the public URL's host. A request that names a toolkit is for the gateway.
func (s *Service) Handles(r *http.Request) bool {
	if r.Header["X-Toolkit"] != nil || !SameHost(r, s.cfg.PublicURL) {
		return false
	}
	_, _, ok := s.page(r.URL.Path)
	return ok
}

// The addresses below v1/.
const (
	statusPath  = "connections/"
	confirmPath = "confirm_user"
)

// page splits a path of ours into its first segment and the rest.
func (s *Service) page(path string) (page, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, s.prefix+"/")
	if !ok {
		return "", "", false
	}
	page, rest, _ = strings.Cut(path, "/")
	switch page {
	case "connect", "callback":
		return page, rest, true
	case signInPath, minePath:
		return page, rest, rest == ""
	case "v1":
		return page, rest, rest == confirmPath || strings.HasPrefix(rest, statusPath)
	}
	return "", "", false
}

// ServeHTTP serves the pages, the callback and a connection's status.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := visit{w, r, rand.Text()}
	w.Header().Set("X-Toolgate-Request-Id", v.id)
	page, rest, ok := s.page(r.URL.Path)
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !ok:
		s.message(v, http.StatusNotFound, notAPage)
	case page == "v1" && rest == confirmPath:
		s.serveConfirm(v)
	case page == "v1":
		s.serveStatus(v, strings.TrimPrefix(rest, statusPath))
	case s.cfg.LocalOnly && !fromHere(r):
		s.message(v, http.StatusForbidden, notFromHere)
	case page == "callback" && r.Method == http.MethodGet:
		s.serveCallback(v, rest)
	case page == signInPath && v.r.Method == http.MethodGet && s.cfg.SignIn != nil:
		s.serveSignedIn(v)
	case page == minePath && reads:
		s.serveMine(v)
	case page == minePath && r.Method == http.MethodPost:
		s.serveUndo(v)
	case page == minePath:
		s.notAllowed(v, "GET, HEAD, POST")
	case page == "callback" || page == signInPath:
		s.notAllowed(v, "GET")
	case rest == "" && reads && s.project():
		s.serveProject(v)
	case rest == "" && v.r.Method == http.MethodPost && s.project():
		s.serveProjectStart(v)
	case reads && s.serveBrand(v, rest):
	case reads && assets[rest] != "":
		serveAsset(w, r, rest)
	case reads:
		s.serveLink(v, rest)
	case r.Method == http.MethodPost:
		s.serveStart(v, rest)
	default:
		s.notAllowed(v, "GET, HEAD, POST")
	}
}

func (s *Service) notAllowed(v visit, allow string) {
	v.w.Header().Set("Allow", allow)
	s.message(v, http.StatusMethodNotAllowed, notAPage)
}

// SameHost compares a request's host with the public URL's, default ports left out. A trailing
// dot is another host: to browsers it is, so the cookie would not come back.
func SameHost(r *http.Request, public *url.URL) bool {
	scheme := public.Scheme
	return strings.EqualFold(bareHost(r.Host, scheme), bareHost(public.Host, scheme))
}

func bareHost(hostport, scheme string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err == nil && (scheme == "https" && port == "443" || scheme == "http" && port == "80") {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return hostport
}

// refuse answers an agent, not a browser.
func (v visit) refuse(step string, err error) {
	p := problem.Of(err)
	p.Step = step
	if v.r.ProtoMajor == 1 && v.r.ContentLength != 0 {
		v.w.Header().Set("Connection", "close") // else the server waits for the body first
	}
	p.Write(v.w, v.r.Header.Get("Accept"), v.id)
}
