// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/egress"
)

// A server that reads the header, answers and closes, as simple ones do. The rest of
// the upload is met by a reset.
func TestAnAnswerInMidUploadIsHeardBeforeTheReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n")
			}()
		}
	}()
	tr := &http.Transport{DialContext: egress.HearOut(new(net.Dialer).DialContext)}
	defer tr.CloseIdleConnections()
	upload := make([]byte, 10<<20)
	for i := range 50 {
		r, _ := http.NewRequest("POST", "http://"+l.Addr().String(), struct{ io.Reader }{bytes.NewReader(upload)})
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatalf("upload %d: the answer is lost: %v", i, err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(text) != "big\n" || err != nil {
			t.Fatalf("upload %d: %s %q, %v", i, res.Status, text, err)
		}
	}
}

// broken fails to write, and to read when it is told to.
type broken struct {
	net.Conn
	read chan error
}

var errReset = errors.New("reset by peer")

func (b broken) Write([]byte) (int, error) { return 0, errReset }
func (b broken) Read([]byte) (int, error)  { return 0, <-b.read }
func (b broken) Close() error              { return nil }

func TestAFailedWriteEndsWithReadingWithClosingOrInTime(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(net.Conn, broken)
		want      time.Duration
	}{
		"reading has ended": {func(conn net.Conn, b broken) { b.read <- io.EOF; _, _ = conn.Read(nil) }, 0},
		"it is closed":      {func(conn net.Conn, _ broken) { conn.Close() }, 0},
		"nobody reads":      {func(net.Conn, broken) {}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broken{read: make(chan error, 1)}
				conn, _ := egress.HearOut(func(context.Context, string, string) (net.Conn, error) { return b, nil })(t.Context(), "tcp", "x:1")
				go c.meanwhile(conn, b)
				begun := time.Now()
				if _, err := conn.Write([]byte("x")); err != errReset {
					t.Errorf("the write: %v", err)
				}
				if took := time.Since(begun); took != c.want {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
