// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// A disconnect ends the tunnels that are open. One that opens in that very moment, with a
// grant that was read before, must not be left over.
func TestNoWebSocketOpensWithAGrantThatWasTakenBackMeanwhile(t *testing.T) {
	bobs := func(n int) []string { return slices.Repeat([]string{"bob"}, n) }
	for name, c := range map[string]struct {
		taken []string // whose, while the provider is asked
		opens bool
	}{
		"this one":                   {[]string{"ada"}, false},
		"this one, then many others": {append([]string{"ada"}, bobs(255)...), false},
		"many others":                {bobs(256), true},
		"more than are remembered":   {bobs(257), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			for _, user := range append(bobs(300), "ada") { // before the call, which is nothing to it
				w.Gateway.Disconnect(connection.Key{Tenant: "default", User: user, Toolkit: "acme"})
			}
			w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
				for _, user := range c.taken {
					w.Gateway.Disconnect(connection.Key{Tenant: "default", User: user, Toolkit: "acme"})
				}
				conn, _, err := http.NewResponseController(rw).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
				_, _ = io.Copy(io.Discard, conn)
			})
			agent := w.Dial()
			_, _ = io.WriteString(agent, upgrade)
			res, err := http.ReadResponse(bufio.NewReader(agent), nil)
			if opened := err == nil && res.StatusCode == http.StatusSwitchingProtocols; opened != c.opens {
				t.Errorf("opened: %v, %v", opened, err)
			}
		})
	}
}
