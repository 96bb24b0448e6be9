// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"bufio"
	"bytes"
	"io"
	"log"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Gate is a place where one goroutine waits for another.
type Gate struct {
	once sync.Once
	open chan struct{}
}

// NewGate makes a closed gate, which opens at the test's end at the latest.
func NewGate(t testing.TB) *Gate {
	g := &Gate{open: make(chan struct{})}
	t.Cleanup(g.Open)
	return g
}

// Open lets everybody pass.
func (g *Gate) Open() { g.once.Do(func() { close(g.open) }) }

// Wait returns when the gate is open, or false when it stays closed.
func (g *Gate) Wait() bool {
	select {
	case <-g.open:
		return true
	case <-time.After(Patience):
		return false
	}
}

// Hears reads exactly what it wants to hear, and no byte more.
func Hears(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("heard %q (%v), want %q", got, err, want)
	}
}

// ReadAnswer reads one whole answer from a connection that is spoken to by hand.
func ReadAnswer(t *testing.T, from *bufio.Reader) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("the answer broke off: %v", err)
	}
	return res, string(body)
}

// ErrorLog fails the test when a server has caught a panic, such as net/http's own
// about two readers of one body, or when a handler has answered twice.
func ErrorLog(t testing.TB) *log.Logger { return log.New(complaints{t}, "", 0) }

type complaints struct{ t testing.TB }

// Write implements io.Writer.
func (c complaints) Write(line []byte) (int, error) {
	if Complains(line) {
		c.t.Errorf("a server says: %s", line)
	}
	return len(line), nil
}

// Complains reports whether what a server has logged is a defect of a handler's.
func Complains(log []byte) bool {
	return bytes.Contains(log, []byte("panic")) || bytes.Contains(log, []byte("superfluous"))
}
