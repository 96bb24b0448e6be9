// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/toolgate/toolgate/egress"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/toolkit"
)

// transport carries requests to one toolkit's hosts. It is Caddy's own HTTP
// transport module, so that operators keep its options.
type transport struct {
	http    *reverseproxy.HTTPTransport
	calls   *egress.Calls // over http
	busy    atomic.Int64  // requests that are under way, up to the end of their answers
	retired atomic.Bool
}

const transportModule = "http.reverse_proxy.transport.http"

// newTransport is the way to the toolkit's own hosts. Without guarded, which may be
// empty, all of them may be private. A host that a variable names is the provider's choice
// or a browser's, whoever wrote the pattern.
func newTransport(ctx caddy.Context, tk *toolkit.Toolkit, raw json.RawMessage, guarded map[string]bool) (*transport, error) {
	options, err := transportOptions(tk, raw)
	if err != nil {
		return nil, err
	}
	return loadTransport(ctx, options, func(host string) bool { return guarded[host] || guarded != nil && tk.VariableHost(host) })
}

const (
	// pingAfter is how long an HTTP/2 connection may be silent before it is asked
	// whether it is alive. One that a router on the way has forgotten would
	// otherwise swallow one call after the other, each until its time limit.
	pingAfter = 30 * time.Second
	// pingPatience is how long the answer may take.
	pingPatience = 15 * time.Second
	// writePatience is how long a provider may take no byte of what is sent over
	// HTTP/2. All calls on the connection need the lock that is held meanwhile, and a
	// ping would wait for it too.
	writePatience = 15 * time.Second
	// readAhead is what an HTTP/2 answer may bring that its agent has not read, which is
	// kept in memory: 4 MiB for each in net/http, so that a few hundred agents that do
	// not read would fill a machine's. A download goes no faster than this per round
	// trip: at 1 MiB and 50 ms, 20 MiB a second. (On loopback 2 GiB take as long with
	// 256 KiB as with 4 MiB; it is the long ways that want more.)
	readAhead = 1 << 20
	// maxHeader is what an answer's header may have, which is kept while its agent does
	// not read. net/http takes 10 MiB.
	maxHeader = 1 << 20
)

func loadTransport(ctx caddy.Context, options *reverseproxy.HTTPTransport, guarded func(host string) bool) (*transport, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	module, err := ctx.LoadModuleByID(transportModule, text)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	t := &transport{http: module.(*reverseproxy.HTTPTransport)}
	inner := t.http.Transport
	inner.DialContext = egress.Keep(egress.Guard(egress.HearOut(plainly(inner.DialContext)), guarded))
	inner.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingPatience, WriteByteTimeout: writePatience, MaxReceiveBufferPerStream: readAhead}
	t.calls = egress.Apart(inner)
	return t, nil
}

// plainly says in Go's own words that nobody was reached. Caddy's error for it does not
// tell what is in it.
func plainly(dial egress.Dial) egress.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if failed, ok := errors.AsType[reverseproxy.DialError](err); ok {
			return nil, &net.OpError{Op: "dial", Net: network, Err: failed}
		}
		return conn, err
	}
}

// transportOptions are the operator's, checked, and ours where they say nothing.
func transportOptions(tk *toolkit.Toolkit, raw json.RawMessage) (*reverseproxy.HTTPTransport, error) {
	options := new(reverseproxy.HTTPTransport)
	if raw != nil {
		if err := readTransport(raw, options); err != nil {
			return nil, err
		}
	}
	if err := refuseTransport(options, tk); err != nil {
		return nil, err
	}
	defaultTransport(options, tk)
	return options, nil
}

// guardedHosts are those that the operator did not write: what the catalogue says
// may be wrong or outdated one day, and a name in it must never lead into the
// operator's network. A host that the operator wrote is where they want it.
func guardedHosts(catalogue, written toolkit.Definition) map[string]bool {
	hosts := map[string]bool{}
	for _, address := range catalogue.Addresses() {
		hosts[address] = true
	}
	for _, address := range written.Addresses() {
		delete(hosts, address)
	}
	return hosts
}

func readTransport(raw json.RawMessage, into *reverseproxy.HTTPTransport) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	if protocol := string(fields["protocol"]); protocol != "" && protocol != `"http"` {
		return fmt.Errorf("transport %s: only http is possible here", protocol)
	}
	delete(fields, "protocol")
	rest, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	return caddy.StrictUnmarshalJSON(rest, into)
}

// refuseTransport names the options that would break a request or leak on the way.
func refuseTransport(o *reverseproxy.HTTPTransport, tk *toolkit.Toolkit) error {
	switch {
	case o.ProxyProtocol != "":
		return errors.New("transport: proxy_protocol would tell the provider the addresses of your agents")
	case o.TLS != nil && strings.ContainsAny(o.TLS.ServerName, "{}"):
		return errors.New("transport: tls_server_name has to be a fixed name")
	case o.TLS != nil && o.TLS.ServerName != "" && tk.HasVariableHost():
		return errors.New("transport: tls_server_name is one name, and the hosts of this toolkit's connections have others")
	case slices.Contains(o.Versions, "3"):
		return errors.New("transport: versions 3 is not possible here; 1.1, 2 and h2c are")
	case o.TLS != nil && tk.BaseURL.Scheme == "http":
		return errors.New("transport: tls is set, but base_url is http and would be called in the clear")
	}
	return nil
}

// defaultTransport fills in limits that Caddy leaves open: a handshake or a header
// that never comes would hold the call, and the agent, for ever.
func defaultTransport(o *reverseproxy.HTTPTransport, tk *toolkit.Toolkit) {
	if tk.BaseURL.Scheme == "https" {
		if o.TLS == nil {
			o.TLS = new(reverseproxy.TLSConfig)
		}
		if o.TLS.HandshakeTimeout == 0 {
			o.TLS.HandshakeTimeout = caddy.Duration(5 * time.Second)
		}
	}
	if connect := caddy.Duration(tk.Times.Connect); connect > 0 {
		o.DialTimeout = connect
		if o.TLS != nil {
			o.TLS.HandshakeTimeout = connect
		}
	}
	if tk.Timeout > 0 {
		o.ResponseHeaderTimeout = caddy.Duration(tk.Timeout)
	} else if o.ResponseHeaderTimeout == 0 {
		o.ResponseHeaderTimeout = caddy.Duration(time.Minute)
	}
	if o.ExpectContinueTimeout == 0 {
		o.ExpectContinueTimeout = caddy.Duration(time.Second)
	}
	if o.MaxResponseHeaderSize == 0 {
		o.MaxResponseHeaderSize = maxHeader
	}
	// Bodies go through as they are; unpacking them would lose their length.
	off := false
	o.Compression = &off
}

// RoundTrip implements http.RoundTripper. It follows no redirect.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.busy.Add(1)
	answer, err := t.calls.RoundTrip(r)
	if err != nil || answer.StatusCode == http.StatusSwitchingProtocols {
		t.done() // an upgraded connection belongs to whoever got it
		return answer, err
	}
	answer.Body = &countedBody{ReadCloser: answer.Body, t: t}
	return answer, nil
}

// countedBody tells when an answer has ended.
type countedBody struct {
	io.ReadCloser
	t     *transport
	ended atomic.Bool
}

// Close implements io.Closer.
func (b *countedBody) Close() error {
	err := b.ReadCloser.Close()
	if b.ended.CompareAndSwap(false, true) {
		b.t.done()
	}
	return err
}

func (t *transport) done() {
	if t.busy.Add(-1) == 0 && t.retired.Load() {
		t.hangUp()
	}
}

// retire closes the connections once nobody needs them. Caddy closes those that are
// idle when it cleans up, and that is not enough: an HTTP/2 connection that is busy
// in that moment is kept when it becomes idle, and so is an HTTP/1 connection that a
// request took afterwards, for a second try or a refresh.
func (t *transport) retire() {
	t.retired.Store(true)
	if t.busy.Load() == 0 {
		t.hangUp()
	}
}

// hangUpAgain is long enough for what is left of a request after its end.
const hangUpAgain = time.Second

// hangUp closes idle connections. A request that was called off is over a moment
// before its HTTP/2 stream is, so it looks once more.
func (t *transport) hangUp() {
	t.calls.CloseIdleConnections()
	time.AfterFunc(hangUpAgain, t.calls.CloseIdleConnections)
}

// tokenTransport sends a token request the way that the operator chose for its toolkit:
// through its proxy, with its trusted roots, and to no private address where it may not.
// It is the last door, too: a client's secret leaves for no address that its own toolkit
// does not have, but for what users may say in it.
type tokenTransport map[string]*endpoint

// RoundTrip implements http.RoundTripper.
func (t tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if e := t[oauth.ToolkitOf(r.Context())]; e != nil && e.toolkit.MayAsk(r.URL) {
		return e.transport.RoundTrip(r)
	}
	return nil, errors.New("the toolkit does not have this token endpoint")
}
