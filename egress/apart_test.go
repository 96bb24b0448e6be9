// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

// net/http gives a connection to the next call before the call whose answer came on it
// has been told, where the answer has no body. These tests stop it there.

func TestAnUploadThatBreaksOffHarmsNoOtherCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newApart(t)
		second := make(chan error, 1)
		res, err := client.Do(between(t.Context(), t, func() {
			go func() {
				r, _ := http.NewRequest("POST", "http://provider/", iotest.ErrReader(errors.New("the agent broke off")))
				_, err := client.Do(r)
				second <- err
			}()
			synctest.Wait() // it waits for the connection, or has ended it
		}))
		if err != nil {
			t.Fatalf("the call before it: %v", err)
		}
		res.Body.Close()
		if err := <-second; err == nil || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("the upload: %v", err)
		}
	})
}

func TestAnAgentThatHangsUpHarmsNoOtherCall(t *testing.T) {
	for name, body := range map[string]func() (io.ReadCloser, error){
		"without a body": func() (io.ReadCloser, error) { return http.NoBody, nil },
		"with a body": func() (io.ReadCloser, error) {
			read, written := io.Pipe() // nothing comes out of it once it is closed
			go func() { _, _ = io.WriteString(written, "a line"); written.Close() }()
			return read, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := newApart(t)
				ctx, hangUp := context.WithCancel(t.Context())
				second := make(chan error, 1)
				_, err := client.Do(between(ctx, t, func() {
					go func() {
						r, _ := http.NewRequest("POST", "http://provider/", nil)
						r.Body, _ = body()
						r.GetBody = body
						_, err := client.Do(r)
						second <- err
					}()
					synctest.Wait()
					hangUp()
					synctest.Wait() // the first call closes the connection
				}))
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("the call that was hung up: %v", err)
				}
				if err := <-second; err != nil {
					t.Errorf("the other call: %v", err)
				}
			})
		})
	}
}

func TestABodyThatCannotBeHadAgainIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newApart(t)
		ctx, hangUp := context.WithCancel(t.Context())
		second := make(chan error, 1)
		_, _ = client.Do(between(ctx, t, func() {
			go func() {
				r, _ := http.NewRequest("POST", "http://provider/", io.MultiReader(strings.NewReader("a line")))
				_, err := client.Do(r)
				second <- err
			}()
			synctest.Wait()
			hangUp()
			synctest.Wait()
		}))
		if <-second == nil {
			t.Error("it was sent, and what was read of it before is lost")
		}
	})
}

// between gives a call during which something happens when its connection has been put
// back, and it has not been told.
func between(ctx context.Context, t *testing.T, happens func()) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", "http://provider/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		PutIdleConn: func(error) { happens() },
	}))
}

// newApart makes a client of a provider that answers everything with an empty 200.
func newApart(t *testing.T) *http.Client {
	tr := &http.Transport{DialContext: Keep(func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answerAll(theirs)
		return ours, nil
	})}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: Apart(tr)}
}

func answerAll(conn net.Conn) {
	defer conn.Close()
	from := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(from)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}
