// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/problem"
)

// maxHops is how many redirects of one download are followed.
const maxHops = 5

// fetchDownload goes where the answer sends the agent, if that is where the provider
// keeps its downloads. The agent may have no way there, and many clients would take
// its key along. The address is signed, so nothing else is needed, and nothing else
// is sent; it is a secret itself.
func (x *exchange) fetchDownload() error {
	for hop := 0; ; hop++ {
		u := x.redirectedTo()
		switch {
		case u == nil:
			return nil
		case hop == maxHops:
			x.dropAnswer()
			return problem.New(problem.UpstreamUnreachable, "redirect", x.toolkit.Name+" redirects its download again and again.")
		}
		if err := x.fetch(u); err != nil {
			return err
		}
	}
}

// redirectedTo is the address that the answer redirects to and that the gateway
// fetches; nil where it is the agent's to follow. Addresses of the toolkit and of the
// gateway itself are among those: relay rewrites them.
func (x *exchange) redirectedTo() *url.URL {
	if x.redirects == nil || x.in.Method != http.MethodGet && x.in.Method != http.MethodHead {
		return nil
	}
	location := x.answer.Header["Location"]
	if !redirects(x.answer.StatusCode) || len(location) != 1 || echoes(location[0], x.secrets) {
		return nil // some providers take the whole query along, and with it the key
	}
	r := x.rewriter()
	u, err := r.target.Parse(strings.Trim(location[0], webSpace))
	if err != nil || strings.ContainsFunc(u.RawQuery, notInQuery) {
		return nil
	}
	if _, own := x.own.Local(u); own || r.isHere(u) || !x.toolkit.MayRedirectTo(u) {
		return nil
	}
	return u
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// downloadHeaders are all that a download host gets to see of the agent's request:
// none of them says who asks.
var downloadHeaders = [...]string{"Accept", "Accept-Encoding", "If-Modified-Since", "If-None-Match", "If-Range", "Range", "User-Agent"}

// fetch puts the download's answer in place of the redirect.
func (x *exchange) fetch(u *url.URL) error {
	x.dropAnswer()
	x.download = u
	out := (&http.Request{
		Method: x.in.Method, URL: u, Host: hostHeader(u),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"toolgate"}},
	}).WithContext(x.ctx())
	clean := credential.Clean(x.in.Header)
	for _, name := range downloadHeaders {
		if values := clean[name]; len(values) > 0 {
			out.Header[name] = values
		}
	}
	answer, err := x.redirects.RoundTrip(out)
	if err != nil {
		return x.downloadProblem(err)
	}
	x.answer = answer
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusSwitchingProtocols:
		// Nothing that the agent can answer: it would take the first for a word
		// about its own key.
		x.dropAnswer()
		return problem.New(problem.UpstreamUnreachable, "redirect", "The host of "+x.toolkit.Name+"'s downloads wants a login that the redirect does not carry.")
	}
	return nil
}

// downloadProblem says in our words why there is no download. The address stays
// out of it.
func (x *exchange) downloadProblem(err error) error {
	if x.in.Context().Err() != nil {
		return errCallerGone
	}
	cause := x.hushed(err)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return problem.New(problem.UpstreamTimeout, "redirect", "The host of "+x.toolkit.Name+"'s downloads did not answer in time.").Because(cause)
	}
	return problem.New(problem.UpstreamUnreachable, "redirect", "The connection to the host of "+x.toolkit.Name+"'s downloads failed.").Because(cause)
}

// quotes reports whether a text holds a part of an address that may be its
// signature: net/http quotes what is not HTTP, which may be an echo.
func quotes(text string, u *url.URL) bool {
	parts := strings.FieldsFunc(u.RequestURI(), func(r rune) bool { return strings.ContainsRune("/?&;=", r) })
	return slices.ContainsFunc(parts, func(part string) bool {
		plain, err := url.QueryUnescape(part)
		return len(part) >= minSecret && (strings.Contains(text, part) || err == nil && strings.Contains(text, plain))
	})
}
