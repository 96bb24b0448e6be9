// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/toolgate/toolgate/credential"
)

// relay streams the provider's answer to the agent.
func (g *Gateway) relay(x *exchange) {
	x.interim.end()
	x.body.forget()
	if x.answer.StatusCode == http.StatusSwitchingProtocols {
		g.tunnel(x)
		return
	}
	forget, err := g.watched(x)
	defer forget()
	x.writeHeader()
	if err == nil {
		err = x.copyBody()
	}
	if err != nil {
		// The answer is cut: the agent must see a broken body, never a clean
		// end. What came so far goes out first, or it would see no header. Also
		// where the caller seems gone: its context may have ended otherwise.
		x.outcome.err, x.outcome.cut = x.hushed(err), true
		_ = http.NewResponseController(x.w).Flush()
		panic(http.ErrAbortHandler)
	}
	x.writeTrailer()
}

// droppedHeaders are about the provider's site or its own login, not ours: a
// cookie or HSTS from one provider would stick to every toolkit on this host.
var droppedHeaders = map[string]bool{
	"Set-Cookie": true, "Set-Cookie2": true, "Clear-Site-Data": true, "Strict-Transport-Security": true,
	"Alt-Svc": true, "Www-Authenticate": true, "Public-Key-Pins": true, "Nel": true, "Report-To": true, "Reporting-Endpoints": true,
	// It tells our refusals from the provider's answers.
	"Proxy-Status": true,
	// These overrule Cache-Control in some caches.
	"Cdn-Cache-Control": true, "Surrogate-Control": true,
}

// forAgent reports whether a header of the provider's is passed on. X-Toolgate-
// would be taken for our own word. named are the answer's Connection options.
func forAgent(name string, named map[string]bool) bool {
	return !droppedHeaders[name] && !named[name] && !credential.HopByHop(name) && !strings.HasPrefix(name, "X-Toolgate-")
}

func (x *exchange) writeHeader() {
	h, from := x.w.Header(), x.answer.Header
	named := credential.ConnectionOptions(from)
	for name, values := range from {
		if forAgent(name, named) {
			h[name] = masked(values, x.secrets)
		}
	}
	if hasLinks(h) {
		x.rewriter().header(h)
	}
	x.setLength(h)
	if h["Content-Type"] == nil { // there was none, or it was for this hop
		h["Content-Type"] = nil // keeps net/http from guessing one
	}
	if x.toolkit.Auth.PerUser {
		h["Cache-Control"] = []string{private(from["Cache-Control"])}
	}
	for name := range x.answer.Trailer {
		if forAgent(name, named) {
			h.Add("Trailer", name)
		}
	}
	if h["Trailer"] != nil && x.in.Proto == "HTTP/1.1" && x.in.Method != http.MethodHead && x.answer.StatusCode != http.StatusNotModified {
		// HTTP/2 has both; on HTTP/1 a trailer stands behind chunks, and there
		// are none beside a length. HTTP/1.0 has no chunks and needs the length.
		delete(h, "Content-Length")
	}
	x.closeIfUnread()
	x.outcome.status = x.answer.StatusCode
	x.w.WriteHeader(x.answer.StatusCode)
}

// setLength says the length that counts. Over HTTP/2 the frames do, and net/http passes
// on whatever the header says, twice or as "+5", from which others read other lengths.
func (x *exchange) setLength(h http.Header) {
	given := len(h["Content-Length"])
	delete(h, "Content-Length")
	if n := x.answer.ContentLength; given == 1 && n >= 0 && x.answer.StatusCode != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	}
}

// private keeps shared caches from giving one user's answer to another.
func private(values []string) string {
	kept := []string{"private"}
	for _, v := range values {
		if strings.Contains(v, `"`) {
			return "private, no-store" // field names in quotes may hold commas
		}
		for directive := range strings.SplitSeq(v, ",") {
			directive = strings.TrimSpace(directive)
			name, _, _ := strings.Cut(strings.ToLower(directive), "=")
			if name != "" && name != "public" && name != "private" && name != "s-maxage" {
				kept = append(kept, directive)
			}
		}
	}
	return strings.Join(kept, ", ")
}

// closeIfUnread ends the connection after an answer that comes before the upload's
// end. The server would otherwise read the rest as if it were the next request's
// business, at the same time as the transport. HTTP/1.0 always ends: behind what the
// server takes for a request without a body there may be chunks, which it does not
// see, and a request in them (RFC 9112 §6.1).
func (x *exchange) closeIfUnread() {
	if x.in.ProtoMajor == 1 && x.body.unread() || !x.in.ProtoAtLeast(1, 1) {
		x.w.Header().Set("Connection", "close")
	}
}

// copyBuffers are for the copies of bodies, 32 KiB each.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// headerPatience is how long a header waits for the body's first bytes, so that
// most answers leave in one packet.
const headerPatience = 2 * time.Millisecond

// copyBody copies as it comes: each piece is flushed unless it is known to be the
// last, so that an event, a line or a byte arrives when it was sent.
func (x *exchange) copyBody() error {
	body := mask(x.answer.Body, x.answer.Header, x.secrets)
	left := x.answer.ContentLength // -1: unknown
	out := flusher{w: x.w, rc: http.NewResponseController(x.w)}
	if left != 0 {
		out.headerSoon(left)
		defer out.stop()
	}
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := body.Read(*buffer)
		if n > 0 {
			left -= int64(n)
			x.outcome.bytes += int64(n)
			if !out.write((*buffer)[:n], left == 0) {
				return errCallerGone
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && x.in.Context().Err() != nil:
			return errCallerGone
		case err != nil:
			return err
		}
	}
}

// flusher writes to the agent. Its lock is for the timer that flushes a header
// whose body is slow to come.
type flusher struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	rc    *http.ResponseController
	timer *time.Timer
}

// headerSoon sends the header by itself if no body follows at once.
func (f *flusher) headerSoon(length int64) {
	if length < 0 {
		_ = f.rc.Flush()
		return
	}
	f.mu.Lock() // it may fire before it is stored
	defer f.mu.Unlock()
	f.timer = time.AfterFunc(headerPatience, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.timer != nil {
			_ = f.rc.Flush()
		}
	})
}

func (f *flusher) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopLocked()
}

func (f *flusher) stopLocked() {
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
}

func (f *flusher) write(p []byte, last bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopLocked()
	if _, err := f.w.Write(p); err != nil {
		return false
	}
	if last {
		return true
	}
	err := f.rc.Flush()
	return err == nil || errors.Is(err, http.ErrNotSupported) // then it comes when it comes
}

// writeTrailer sends the trailers, announced or not.
func (x *exchange) writeTrailer() {
	h := x.w.Header()
	if len(x.answer.Trailer) == 0 {
		return
	}
	announced := map[string]bool{}
	for _, name := range h["Trailer"] {
		announced[name] = true
	}
	for name, values := range x.answer.Trailer {
		switch {
		case !forAgent(name, nil) || !httpguts.ValidTrailerHeader(name):
		case announced[name]:
			h[name] = masked(values, x.secrets)
		default:
			h[http.TrailerPrefix+name] = masked(values, x.secrets)
		}
	}
}
