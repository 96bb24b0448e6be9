// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// address is one on which a process opens a socket for each configuration.
type address struct {
	t       *testing.T
	sockets Sockets
	at      string
	closed  atomic.Int64 // listeners of which Caddy was told that they are closed
}

// join is what happens when a configuration starts.
func (a *address) join() *Listener {
	a.t.Helper()
	a.sockets.Hold()
	own := a.open()
	if a.at == "" {
		a.at = own.Addr().String()
	}
	l, err := a.sockets.Join(own, &telling{own, a}, net.KeepAliveConfig{Enable: true})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { l.Close() })
	return l
}

func (a *address) open() *net.TCPListener {
	a.t.Helper()
	at := a.at
	if at == "" {
		at = "127.0.0.1:0"
	}
	config := net.ListenConfig{Control: reusable}
	ln, err := config.Listen(context.Background(), "tcp", at)
	if err != nil {
		a.t.Fatal(err)
	}
	return ln.(*net.TCPListener)
}

// telling is what Caddy puts around a listener.
type telling struct {
	net.Listener
	to *address
}

func (t *telling) Close() error {
	t.to.closed.Add(1)
	return t.Listener.Close()
}

func (a *address) dial() net.Conn {
	a.t.Helper()
	conn, err := net.Dial("tcp", a.at)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { conn.Close() })
	return conn
}

func accept(t *testing.T, l *Listener) *Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*Conn)
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("%q %v, want %q", got, err, want)
	}
}

func TestAConnectionThatNobodyHasReadFromGoesToTheNewServer(t *testing.T) {
	a := &address{t: t}
	old := a.join()
	client := a.dial()
	before := accept(t, old)
	renewed := a.join()
	after := accept(t, renewed)
	say(t, client, "hello")
	hear(t, after, "hello")
	if n, err := before.Read(make([]byte, 10)); n > 0 || err != io.EOF {
		t.Fatalf("the old server read %d bytes, %v", n, err)
	}
	// What the old server still does to it reaches nobody.
	if _, err := before.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Fatal("the old server wrote:", err)
	}
	before.SetDeadline(time.Unix(1, 0))
	before.Close()
	say(t, after, "and back")
	hear(t, client, "and back")
}

func TestAServerThatIsReadingGivesTheConnectionAwayToo(t *testing.T) {
	a := &address{t: t}
	old := a.join()
	client := a.dial()
	before := accept(t, old)
	ended := make(chan error)
	go func() { _, err := before.Read(make([]byte, 10)); ended <- err }()
	until(&before.mu, func() bool { return before.reading })
	renewed := a.join()
	if err := <-ended; err != io.EOF {
		t.Fatal(err)
	}
	after := accept(t, renewed)
	say(t, client, "hello")
	hear(t, after, "hello")
}

// What comes in the moment of the handover is read by the old server's call, and is the
// new one's all the same.
func TestBytesThatComeInTheMomentOfTheHandoverAreNotLost(t *testing.T) {
	a := &address{t: t}
	old := a.join()
	client := a.dial()
	before := accept(t, old)
	ended := make(chan error)
	go func() { _, err := before.Read(make([]byte, 3)); ended <- err }()
	until(&before.mu, func() bool { return before.reading })
	before.mu.Lock()
	before.leaving = true // and its Read has not been ended yet
	before.mu.Unlock()
	say(t, client, "hello")
	after := accept(t, old)
	if err := <-ended; err != io.EOF {
		t.Fatal(err)
	}
	// It goes on once more before its new server has looked at it.
	renewed := a.join()
	last := accept(t, renewed)
	if n, err := after.Read(make([]byte, 10)); n > 0 || err != io.EOF {
		t.Fatalf("%d bytes, %v", n, err)
	}
	one := make([]byte, 1)
	if _, err := last.Read(one); err != nil || string(one) != "h" {
		t.Fatalf("%q %v", one, err)
	}
	a.join() // which finds that something was read
	hear(t, last, "ello")
}

func TestAConnectionThatWasReadFromStays(t *testing.T) {
	a := &address{t: t}
	old := a.join()
	client := a.dial()
	before := accept(t, old)
	say(t, client, "hel")
	hear(t, before, "hel")
	State(before, http.StateActive)
	say(t, before, "yes")
	a.join()
	say(t, client, "lo")
	hear(t, before, "lo")
	hear(t, client, "yes")
	old.Close()
	say(t, before, "still")
	hear(t, client, "still")
}

func TestANewServerThatFailsGivesEverythingBack(t *testing.T) {
	a := &address{t: t}
	old := a.join()
	first := a.dial()
	accept(t, old)
	failed := a.join()
	accept(t, failed)
	failed.Close()
	say(t, first, "one")
	hear(t, accept(t, old), "one")
	second := a.dial()
	say(t, second, "two")
	hear(t, accept(t, old), "two")
}

// Without Hold, or where the system knows none, some go to the socket that is closed.
func TestWhatCameToASocketThatIsClosedIsServed(t *testing.T) {
	a := &address{t: t}
	for generation := range 2 {
		own := a.open()
		a.at = own.Addr().String()
		for range 20 {
			say(t, a.dial(), "x")
		}
		l, err := a.sockets.Join(own, own, net.KeepAliveConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		for range 20 {
			hear(t, accept(t, l), "x")
		}
		if generation == 0 {
			continue
		}
		if conn, err := own.Accept(); err == nil {
			conn.Close()
			t.Fatal("it is not closed")
		}
	}
}

func TestTheLastServerClosesTheSocket(t *testing.T) {
	a := &address{t: t}
	one, two := a.join(), a.join()
	one.Close()
	one.Close()
	say(t, a.dial(), "x")
	hear(t, accept(t, two), "x")
	two.Close()
	if _, err := two.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if n := a.closed.Load(); n != 2 || len(a.sockets.open) != 0 {
		t.Fatalf("%d listeners were closed, %d sockets are open", n, len(a.sockets.open))
	}
	if conn, err := net.Dial("tcp", a.at); err == nil {
		conn.Close()
		t.Fatal("somebody still listens")
	}
	a.join() // and the address can be had again
	say(t, a.dial(), "x")
}

func TestAReloadWaitsForARequestOfWhichAPartWasRead(t *testing.T) {
	a := &address{t: t}
	old := a.join()
	say(t, a.dial(), "GET / HT")
	before := accept(t, old)
	hear(t, before, "GET / HT")
	joined := make(chan struct{})
	go func() { a.join(); close(joined) }()
	until(&old.mu, func() bool { return old.settled != nil })
	select {
	case <-joined:
		t.Fatal("it did not wait")
	default:
	}
	State(before, http.StateNew) // says nothing
	say(t, before, "a handshake")
	State(before, http.StateActive)
	select {
	case <-joined:
		t.Fatal("it did not wait until the server was past its last look")
	default:
	}
	say(t, before, "an answer")
	<-joined
}

// A client that never sends the rest holds a reload up for settleLimit.
func TestAReloadDoesNotWaitForever(t *testing.T) {
	a := &address{t: t}
	old := a.join()
	say(t, a.dial(), "GET / HT")
	hear(t, accept(t, old), "GET / HT")
	a.join()
}

// The real servers, and clients that make each call on a connection of its own, which
// therefore nothing makes up for.
func TestNoFreshConnectionIsLostOverManyReloads(t *testing.T) {
	serve, trust := certified(t)
	for name, with := range map[string]struct {
		serve  *tls.Config
		client *tls.Config
		scheme string
	}{
		"in the clear": {nil, nil, "http"},
		"with TLS":     {serve, trust, "https"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &address{t: t}
			stop := a.serve(with.serve)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: with.client}}
			over := make(chan struct{})
			done := make(chan struct{}, 1<<16)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for {
						select {
						case <-over:
							return
						default:
						}
						res, err := client.Post(with.scheme+"://"+a.at, "", strings.NewReader("hello"))
						if err != nil {
							t.Error(err)
						} else if body, err := io.ReadAll(res.Body); err != nil || string(body) != "hello" {
							t.Errorf("%q %v", body, err)
						}
						done <- struct{}{}
					}
				})
			}
			for range 30 {
				for range 20 {
					<-done
				}
				next := a.serve(with.serve)
				stop()
				stop = next
			}
			close(over)
			all.Wait()
			stop()
		})
	}
}

// serve starts a server as Caddy does, and gives what stops it.
func (a *address) serve(secure *tls.Config) (stop func()) {
	server := &http.Server{ConnState: State, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(rw, r.Body)
	})}
	var ln net.Listener = a.join()
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	return func() {
		if err := server.Shutdown(context.Background()); err != nil {
			a.t.Error(err)
		}
		<-ended
	}
}

// until waits for something that has no event.
func until(mu *sync.Mutex, true func() bool) {
	for is := false; !is; time.Sleep(time.Millisecond) {
		mu.Lock()
		is = true()
		mu.Unlock()
	}
}
