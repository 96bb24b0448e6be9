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

// interim passes 1xx answers on. They arrive on the transport's goroutine, which
// may still run after RoundTrip has given up, so they end under a lock before
// anything else is written.
type interim struct {
	mu   sync.Mutex
	over bool
	seen int
}

// maxInterim is how many there may be before an answer. net/http has a limit of its
// own, and leaves it to whoever looks at them.
const maxInterim = 100

var errInterim = errors.New("gateway: too many interim answers")

// write sends one interim answer and leaves the header for the final one as it was.
// 100 is the server's own: it sends it when the body is first read, which happens
// when the provider asks for it.
func (i *interim) write(x *exchange, code int, header http.Header) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen++; i.seen > maxInterim {
		return errInterim
	}
	if i.over || code == http.StatusContinue || code == http.StatusSwitchingProtocols {
		return nil
	}
	h := x.w.Header()
	before := maps.Clone(h)
	clear(h)
	named := credential.ConnectionOptions(header)
	for name, values := range header {
		if forAgent(name, named) {
			h[name] = masked(values, x.secrets)
		}
	}
	x.rewriter().header(h) // a hint is fetched like any other link
	x.w.WriteHeader(code)
	clear(h)
	maps.Copy(h, before)
	return nil
}

// end keeps later ones from being written.
func (i *interim) end() {
	i.mu.Lock()
	i.over = true
	i.mu.Unlock()
}
