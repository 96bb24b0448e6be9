// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// newOwned makes calls of a provider that answers each by the call's X-Say, and counts
// the connections. With a limit for them, all owners' are in one pool.
func newOwned(t *testing.T, limit int, say func(conn net.Conn, text string)) (calls *Calls, dials *atomic.Int64) {
	dials = new(atomic.Int64)
	tr := &http.Transport{MaxIdleConnsPerHost: 8, MaxConnsPerHost: limit, DialContext: Keep(func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			from := bufio.NewReader(theirs)
			for {
				r, err := http.ReadRequest(from)
				if err != nil {
					return
				}
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					return
				}
				say(theirs, r.Header.Get("X-Say"))
			}
		}()
		return ours, nil
	})}
	calls = Apart(tr)
	t.Cleanup(calls.CloseIdleConnections)
	return calls, dials
}

func answer(conn net.Conn, text string) {
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

func callAs(t *testing.T, calls http.RoundTripper, owner, say string, body io.Reader) string {
	t.Helper()
	r, err := http.NewRequestWithContext(For(t.Context(), owner), "POST", "http://provider/", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Say", say)
	res, err := calls.RoundTrip(r)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// The second half comes when the next call has been written, and nothing tells it from
// that call's answer.
func TestASplitAnswerWhoseSecondHalfComesLaterHitsOnlyItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := map[net.Conn]string{} // second halves
		calls, dials := newOwned(t, 8, func(conn net.Conn, text string) {
			if late := held[conn]; late != "" {
				text = late
			}
			if text == "split" {
				held[conn] = "chosen by alice"
			}
			answer(conn, text)
		})
		if got := callAs(t, calls, "alice", "split", nil); got != "split" {
			t.Fatal(got)
		}
		synctest.Wait()
		if got := callAs(t, calls, "bob", "his", strings.NewReader("upload")); got != "his" || dials.Load() != 2 {
			t.Errorf("bob got %q over %d connections", got, dials.Load())
		}
	})
}

func TestAConnectionIsUsedAgainByItsOwnerAlone(t *testing.T) {
	type step struct {
		owner string
		dials int64 // so far
	}
	for name, c := range map[string]struct {
		limit int
		steps []step
	}{
		"in one pool": {8, []step{{"alice", 1}, {"alice", 1}, {"bob", 2}, {"bob", 2}, {"", 3}, {"", 3}, {"alice", 4}}},
		// The first call does not know yet that the host speaks HTTP/1.
		"in a pool for each": {0, []step{{"alice", 1}, {"alice", 2}, {"bob", 3}, {"", 4}, {"alice", 4}, {"bob", 4}, {"", 4}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, dials := newOwned(t, c.limit, answer)
				for i, s := range c.steps {
					if got := callAs(t, calls, s.owner, "x", strings.NewReader("upload")); got != "x" || dials.Load() != s.dials {
						t.Errorf("call %d, of %q: %q, %d connections, want %d", i, s.owner, got, dials.Load(), s.dials)
					}
					synctest.Wait()
				}
			})
		})
	}
}

func TestOnlyTheLatestOwnersKeepTheirConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, dials := newOwned(t, 0, answer)
		for i := range maxLanes + 10 {
			callAs(t, calls, fmt.Sprint("user", i), "x", nil)
			synctest.Wait()
		}
		before := dials.Load()
		callAs(t, calls, fmt.Sprint("user", maxLanes), "x", nil)
		callAs(t, calls, "user3", "x", nil)
		if len(calls.lanes.owners) > maxLanes || dials.Load() != before+1 {
			t.Errorf("%d owners, %d connections more", len(calls.lanes.owners), dials.Load()-before)
		}
	})
}

// net/http has the second half already, and gives the connection to bob's call.
func TestASplitAnswerInOnePieceIsNotTheNextOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, _ := newOwned(t, 1, func(conn net.Conn, text string) {
			if text == "split" {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nchosen by alice")
				return
			}
			answer(conn, text)
		})
		bobs := make(chan string, 1)
		ctx := For(t.Context(), "alice")
		r := between(ctx, t, func() {
			go func() { bobs <- callAs(t, calls, "bob", "his", nil) }()
			synctest.Wait() // it waits for alice's connection to be read, or is written
		})
		r.Header.Set("X-Say", "split")
		res, err := calls.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := <-bobs; got != "his" {
			t.Errorf("bob got %q", got)
		}
	})
}

// What is read of an upload for a connection that is not for it would be lost. net/http
// may look at the upload before it notices that the connection has ended.
func TestNothingOfAnUploadIsReadForAConnectionThatHasEnded(t *testing.T) {
	var read int
	body := func() (io.ReadCloser, error) {
		return io.NopCloser(readerFunc(func(p []byte) (int, error) { read++; return copy(p, "upload"), io.EOF })), nil
	}
	r, _ := http.NewRequest("POST", "http://provider/", nil)
	r.Body, _ = body()
	r.GetBody = body
	c := &call{ctx: t.Context()}
	out := c.of(r)
	again, err := out.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []io.Reader{out.Body, again} {
		c.ended.Store(true)
		if n, err := body.Read(make([]byte, 9)); n != 0 || !errors.Is(err, errEnded) || read != 0 {
			t.Errorf("%d bytes, %v; the upload was read %d times", n, err, read)
		}
		c.ended.Store(false)
		if n, _ := body.Read(make([]byte, 9)); n != 6 || read != 1 {
			t.Errorf("then %d bytes; the upload was read %d times", n, read)
		}
		read = 0
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// net/http prints it with the standard logger, and Caddy keeps that.
func TestWhatComesBehindAnAnswerIsNotPrinted(t *testing.T) {
	var printed bytes.Buffer
	before := log.Writer()
	log.SetOutput(&printed)
	defer log.SetOutput(before)
	for name, say := range map[string]func(net.Conn, string){
		"in one piece": func(conn net.Conn, text string) {
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok%s", text)
		},
		"a moment later": func(conn net.Conn, text string) {
			answer(conn, "ok")
			go func() { time.Sleep(time.Second); _, _ = io.WriteString(conn, text) }()
		},
	} {
		t.Run(name, func(t *testing.T) {
			printed.Reset()
			synctest.Test(t, func(t *testing.T) {
				calls, _ := newOwned(t, 0, say)
				if got := callAs(t, calls, "alice", "marker-token", nil); got != "ok" {
					t.Error(got)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
			})
			if strings.Contains(printed.String(), "marker") {
				t.Errorf("printed: %s", printed.String())
			}
			// What came with the answer, net/http has; what comes later it does not get.
			if told := strings.Contains(printed.String(), "Unsolicited"); told != (name == "in one piece") {
				t.Errorf("the operator is told: %v", told)
			}
		})
	}
}

func TestAHostThatSpeaksHTTP2AgainIsSharedAgain(t *testing.T) {
	l := &Apart(new(http.Transport)).lanes
	for i, http1 := range []bool{false, true, false} {
		l.spoke("provider", http1)
		if shared := l.way("alice", "provider") == l.shared; shared == http1 {
			t.Errorf("step %d: shared %v", i, shared)
		}
	}
}
