// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// wire is a real Caddy whose clients send bytes as they are, and whose provider keeps
// what it got byte for byte. The agent may act for anybody; alice and bob have connected.
type wire struct {
	*world
	provider *rawProvider
	bearer   map[string]string // by user
}

const botKey = "tgk_0123456789abcdef0123456789abcdef"

const proof = "X-Toolgate-Key: " + botKey + "\r\n"

// more are lines for the Caddyfile: for the global options, the option toolgate, the
// toolkit acme and the site.
type more struct{ global, option, acme, site string }

func newWire(t *testing.T, m more) *wire {
	t.Helper()
	w := &wire{world: newWorld(t), provider: newRawProvider(t), bearer: map[string]string{}}
	t.Setenv("BOT_KEY", botKey)
	config := w.caddyfile(m.global, "agent bot {\n\t\t\tkey {env.BOT_KEY}\n\t\t\tacts_for any\n\t\t}\n\t\t"+m.option, m.site)
	config = strings.Replace(config, "base_url "+w.origin, "base_url http://"+w.provider.address, 1)
	config = strings.Replace(config, "identity /v1/me email\n", m.acme+"\n", 1)
	w.load(strings.ReplaceAll(config, "PROVIDER", w.provider.address))
	for _, user := range []string{"alice", "bob"} {
		w.connect("X-Toolgate-Key", botKey, "X-User-Id", user)
		w.provider.taken()
		w.talk(t, "GET /acme/hello HTTP/1.1\r\nHost: "+w.address+"\r\n"+proof+"X-User-Id: "+user+"\r\nConnection: close\r\n\r\n")
		got := w.provider.taken()
		if len(got) != 1 || got[0].value("Authorization") == "" {
			t.Fatalf("%s's first call came as %+v", user, got)
		}
		w.bearer[user] = got[0].value("Authorization")
	}
	if w.bearer["alice"] == w.bearer["bob"] {
		t.Fatal("both users have the same token")
	}
	return w
}

func (w *wire) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, bufio.NewReader(conn)
}

// reply is an answer as an agent got it.
type reply struct {
	*http.Response
	body string
}

// says is "200", or "400 bad_request/upload" for a refusal of ours.
func (r reply) says() string {
	text := strconv.Itoa(r.StatusCode)
	if _, rest, ours := strings.Cut(r.body, `"code":"`); ours {
		code, _, _ := strings.Cut(rest, `"`)
		text += " " + code
	}
	return text
}

func readReply(from *bufio.Reader, method string) (reply, error) {
	res, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		return reply{Response: new(http.Response)}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.Close && res.ContentLength < 0 && res.TransferEncoding == nil {
		err = nil // net/http's own refusals end with the connection, however that ends
	}
	return reply{res, string(body)}, err
}

const lastWord = "/acme/last-word"

// talk sends bytes and gives all answers. A connection that is kept must still be in step:
// it is asked for a last word, which must be the next thing that is answered.
func (w *wire) talk(t *testing.T, request string) (replies []reply, kept bool) {
	t.Helper()
	conn, from := w.dial(t)
	go func() { _, _ = io.WriteString(conn, request) }()
	for {
		r, err := readReply(from, "GET")
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatalf("after %d answers: %v", len(replies), err)
			}
			return replies, kept // however it was closed
		}
		if r.Header.Get("X-Last-Word") != "" {
			return replies, kept
		}
		replies = append(replies, r)
		if !r.Close && !kept {
			kept = true
			_, _ = io.WriteString(conn, "GET "+lastWord+" HTTP/1.1\r\nHost: "+w.address+"\r\n"+proof+"X-User-Id: bob\r\nConnection: close\r\n\r\n")
		}
	}
}

// settle stops Caddy and waits until the provider has seen the end of each connection.
func (w *wire) settle(t *testing.T) {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	w.provider.listener.Close()
	w.provider.serving.Wait()
}

// message is a request as it stood on the provider's wire.
type message struct {
	conn    int
	head    string // with the empty line
	body    string // without its framing
	trailer string
	fault   error // of the framing, or where it broke off
}

func (m message) value(name string) string {
	for line := range strings.SplitSeq(m.head, "\r\n") {
		if n, v, ok := strings.Cut(line, ": "); ok && strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

// brief is "POST /x body".
func (m message) brief() string {
	method, rest, _ := strings.Cut(m.head, " ")
	path, _, _ := strings.Cut(rest, " ")
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", method, path, m.body))
}

// rawProvider reads requests by a reader of its own, which is strict about everything
// that servers read in different ways.
type rawProvider struct {
	listener net.Listener
	address  string
	serving  sync.WaitGroup

	mu    sync.Mutex
	seen  []message
	conns int
	reply func(message) (text string, keep bool)
	take  func(net.Conn, *bufio.Reader) // has a connection to itself, in place of reply
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func newRawProvider(t *testing.T) *rawProvider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &rawProvider{listener: l, address: l.Addr().String()}
	p.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns++
			n := p.conns
			p.mu.Unlock()
			p.serving.Go(func() {
				defer conn.Close()
				p.serve(conn, bufio.NewReaderSize(conn, 64<<10), n)
			})
		}
	})
	return p
}

// answers makes the provider answer with what reply says, and hang up unless it is to
// keep the connection.
func (p *rawProvider) answers(reply func(message) (text string, keep bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reply, p.take = reply, nil
}

// takes hands connections over on which something comes.
func (p *rawProvider) takes(take func(net.Conn, *bufio.Reader)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.take = take
}

// taken gives what came since it was asked before, without last words.
func (p *rawProvider) taken() []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

func (p *rawProvider) serve(conn net.Conn, from *bufio.Reader, n int) {
	for {
		if _, err := from.Peek(1); err != nil {
			return
		}
		p.mu.Lock()
		reply, take := p.reply, p.take
		p.mu.Unlock()
		if take != nil {
			take(conn, from)
			return
		}
		m := readMessage(from)
		m.conn = n
		p.mu.Lock()
		last := strings.HasPrefix(m.head, "GET "+strings.TrimPrefix(lastWord, "/acme")+" ")
		if !last {
			p.seen = append(p.seen, m)
		}
		p.mu.Unlock()
		text, keep := okAnswer, true
		switch {
		case m.fault != nil:
			return
		case last:
			text = "HTTP/1.1 200 OK\r\nX-Last-Word: 1\r\nContent-Length: 0\r\n\r\n"
		case reply != nil:
			text, keep = reply(m)
		}
		if _, err := io.WriteString(conn, text); err != nil || !keep {
			return
		}
	}
}

func readMessage(from *bufio.Reader) (m message) {
	var length, coding []string
	for {
		line, err := strictLine(from)
		if err != nil {
			if m.head += line; m.head != "" {
				m.fault = err
			}
			return m
		}
		m.head += line + "\r\n"
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "content-length":
			length = append(length, strings.TrimSpace(value))
		case "transfer-encoding":
			coding = append(coding, strings.TrimSpace(value))
		}
	}
	switch {
	case len(length)+len(coding) > 1:
		m.fault = fmt.Errorf("lengths %q beside codings %q", length, coding)
	case len(coding) == 1 && coding[0] != "chunked":
		m.fault = fmt.Errorf("the coding %q", coding[0])
	case len(coding) == 1:
		m.body, m.trailer, m.fault = readChunks(from)
	case len(length) == 1:
		n, err := strconv.ParseUint(length[0], 10, 31)
		body := make([]byte, n)
		if _, m.fault = io.ReadFull(from, body); err != nil {
			m.fault = err
		}
		m.body = string(body)
	}
	return m
}

func readChunks(from *bufio.Reader) (body, trailer string, err error) {
	for {
		line, err := strictLine(from)
		if err != nil {
			return body, "", err
		}
		size, err := strconv.ParseUint(line, 16, 31)
		if err != nil || strings.Trim(line, "0123456789abcdef") != "" {
			return body, "", fmt.Errorf("the chunk size %q", line)
		}
		chunk := make([]byte, size)
		if _, err := io.ReadFull(from, chunk); err != nil {
			return body, "", err
		}
		body += string(chunk)
		for line != "" {
			if line, err = strictLine(from); err != nil {
				return body, trailer, err
			}
			if line == "" {
				break
			}
			if size != 0 {
				return body, "", fmt.Errorf("%q after a chunk", line)
			}
			trailer += line + "\r\n"
		}
		if size == 0 {
			return body, trailer, nil
		}
	}
}

// strictLine takes only lines that end as they should.
func strictLine(from *bufio.Reader) (string, error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return line, err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\n\x00") {
		return line, fmt.Errorf("the line %q", line)
	}
	return text, nil
}
