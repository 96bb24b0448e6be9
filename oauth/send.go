// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/toolgate/toolgate/toolkit"
)

// maxAnswer is the largest token answer that is read, in bytes.
const maxAnswer = 1 << 20

// request is what is to be asked of an endpoint.
type request struct {
	method  string // "": POST
	address string
	params  map[string]string
}

// response is what an endpoint answered.
type response struct {
	status int
	header http.Header
	text   []byte
}

// sendError: there is no answer. It says whose fault it is and no more: the address of
// a GET holds secrets, and errors such as url.Error quote it.
type sendError struct {
	what   string
	unsent bool // not one byte of the request has left
	cause  error
}

// Error implements error.
func (e *sendError) Error() string { return e.what + ": " + e.cause.Error() }

// Unwrap gives the cause.
func (e *sendError) Unwrap() error { return e.cause }

// send asks once. It never follows a redirect and never tries again.
func (c *Client) send(ctx context.Context, o *toolkit.OAuth2, r request) (response, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, ofToolkit{}, o.Toolkit), c.timeout())
	defer cancel()
	w := new(wire)
	req, err := r.build(httptrace.WithClientTrace(ctx, w.trace()), o, w)
	if err != nil {
		return response{}, err
	}
	res, err := c.transport().RoundTrip(req)
	if err != nil {
		return response{}, &sendError{"calling " + req.URL.Host, neverLeft(err) || w.untouched(), r.bare(err)}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return response{}, &sendError{"reading the answer of " + req.URL.Host, false, r.bare(err)}
	}
	if len(text) > maxAnswer {
		return response{}, fmt.Errorf("the answer of %s is larger than 1 MiB", req.URL.Host)
	}
	return response{res.StatusCode, res.Header, text}, nil
}

// build makes the request, with the client's proof.
func (r request) build(ctx context.Context, o *toolkit.OAuth2, w *wire) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.method, http.MethodPost), r.address, nil)
	if err != nil { // which quotes the address
		return nil, &sendError{"making the request", true, errors.New("the address cannot be used")}
	}
	id := cmp.Or(o.ClientIDParam, "client_id")
	switch o.AuthStyle {
	case toolkit.StyleBody:
		r.params[id] = o.ClientID
		r.params["client_secret"] = o.ClientSecret.Reveal()
	case toolkit.StyleNone:
		r.params[id] = o.ClientID
	}
	req.Header.Set("Accept", "application/json") // GitHub answers a form otherwise
	req.Header.Set("User-Agent", "toolgate")
	for name, value := range o.TokenHeaders {
		req.Header.Set(name, value)
	}
	if o.AuthStyle == toolkit.StyleBasic || o.AuthStyle == "" {
		// Form-encoded first (RFC 6749 §2.3.1): a raw % or + is another secret.
		pair := url.QueryEscape(o.ClientID) + ":" + url.QueryEscape(o.ClientSecret.Reveal())
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	return req, r.write(req, o.BodyFormat, w)
}

// write puts the parameters where they belong.
func (r request) write(req *http.Request, format toolkit.BodyFormat, w *wire) error {
	form := url.Values{}
	for name, value := range r.params {
		form.Set(name, value)
	}
	if req.Method == http.MethodGet {
		query := req.URL.Query()
		for name := range form {
			query.Set(name, form.Get(name))
		}
		req.URL.RawQuery = query.Encode()
		// An empty body that is not http.NoBody and cannot be had again: net/http
		// sends a GET without one a second time if the connection breaks, whatever
		// has become of the first.
		req.Body = io.NopCloser(strings.NewReader(""))
		return nil
	}
	text, contentType := []byte(form.Encode()), "application/x-www-form-urlencoded"
	if format == toolkit.FormatJSON {
		var err error
		if text, err = json.Marshal(r.params); err != nil {
			return &sendError{"making the request", true, errors.New("not possible as JSON")}
		}
		contentType = "application/json"
	}
	req.Header.Set("Content-Type", contentType)
	req.ContentLength = int64(len(text))
	req.Body = io.NopCloser(bytes.NewReader(text))
	req.GetBody = func() (io.ReadCloser, error) {
		if w.multiplexed.Load() {
			return nil, errSent
		}
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	return nil
}

// errSent: the transport would send a request a second time.
var errSent = errors.New("the connection has ended, and the request is sent only once")

// wire watches how far a request gets.
type wire struct {
	asked, got  atomic.Bool // for a connection; one was there
	multiplexed atomic.Bool // HTTP/2 has begun to write the request
}

// trace is what tells it.
//
// Over HTTP/1, net/http sends a POST again only where not one byte of it had been
// written to a connection that had been idle. Over HTTP/2, it also does on the server's
// word that nothing was done (RFC 9113 §8.7) and, in net/http's own, on a
// PROTOCOL_ERROR, which says nothing of the kind. A server's word is not enough where a
// second use of a refresh token ends the grant, so there it is once and never again.
func (w *wire) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { w.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { w.got.Store(true) },
		WroteHeaderField: func(name string, _ []string) {
			if strings.HasPrefix(name, ":") { // as in HTTP/2 alone
				w.multiplexed.Store(true)
			}
		},
	}
}

// untouched reports whether the transport has surely not come to write: it asked for a
// connection and got none. A transport that tells nothing is not believed.
func (w *wire) untouched() bool { return w.asked.Load() && !w.got.Load() }

// neverLeft reports whether there was not even a connection.
func neverLeft(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// bare is err without anything of the request or of the answer: net/http quotes the
// address, and what it cannot read as an answer, which may hold the new token.
func (r request) bare(err error) error {
	for _, plain := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, plain) {
			return plain
		}
	}
	if quoting, ok := errors.AsType[*url.Error](err); ok {
		err = quoting.Err
	}
	for _, value := range r.params {
		if len(value) > 4 && (strings.Contains(err.Error(), value) || strings.Contains(err.Error(), url.QueryEscape(value))) {
			return errors.New("the request failed")
		}
	}
	if before, _, quotes := strings.Cut(err.Error(), `"`); quotes {
		return errors.New(strings.TrimRight(before, " :="))
	}
	return err
}
