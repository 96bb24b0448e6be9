// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"maps"
	"net/http"
	"sync"

	"github.com/toolgate/toolgate/credential"
)

// interim passes 1xx answers on. They arrive on the transport's goroutine, which over
// HTTP/2 reads for all calls on the connection: one agent that does not read would stop
// everybody's. So they wait in a queue, and a goroutine of this exchange writes them,
// which ends before anything else is written.
type interim struct {
	mu      sync.Mutex
	over    bool
	seen    int
	waiting []hint
	written chan struct{} // closed when nobody writes any more; nil: nobody does
}

type hint struct {
	code   int
	header http.Header
}

// maxWaiting is how many wait for an agent that is slow. It can do without the others.
const maxWaiting = 4

// maxInterim is how many there may be before an answer. net/http has a limit of its
// own, and leaves it to whoever looks at them.
const maxInterim = 100

var errInterim = errors.New("gateway: too many interim answers")

// write passes one interim answer on, and waits for nobody. 100 is the server's own: it
// sends it when the body is first read, which happens when the provider asks for it.
func (i *interim) write(x *exchange, code int, header http.Header) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen++; i.seen > maxInterim {
		return errInterim
	}
	if i.over || code == http.StatusContinue || code == http.StatusSwitchingProtocols || len(i.waiting) == maxWaiting {
		return nil
	}
	h := http.Header{}
	named := credential.ConnectionOptions(header)
	for name, values := range header {
		if forAgent(name, named) {
			h[name] = masked(values, x.secrets)
		}
	}
	x.rewriter().header(h) // a hint is fetched like any other link
	i.waiting = append(i.waiting, hint{code, h})
	if i.written == nil {
		i.written = make(chan struct{})
		go i.writeAll(x.w, i.written)
	}
	return nil
}

func (i *interim) writeAll(w http.ResponseWriter, written chan struct{}) {
	defer close(written)
	for {
		i.mu.Lock()
		if len(i.waiting) == 0 {
			i.written = nil
			i.mu.Unlock()
			return
		}
		next := i.waiting[0]
		i.waiting = i.waiting[1:]
		i.mu.Unlock()
		next.write(w)
	}
}

// write leaves the header for the final answer as it was.
func (n hint) write(w http.ResponseWriter) {
	h := w.Header()
	before := maps.Clone(h)
	clear(h)
	maps.Copy(h, n.header)
	w.WriteHeader(n.code)
	clear(h)
	maps.Copy(h, before)
}

// end keeps later ones from being written, and waits for those that came before.
func (i *interim) end() {
	i.mu.Lock()
	i.over = true
	written := i.written
	i.mu.Unlock()
	if written != nil {
		<-written
	}
}
