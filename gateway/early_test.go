// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// These are about answers that come before the upload's end. The world's server has
// another body in each request, as Caddy does, so that net/http is of no help.

const post = "POST /acme/x HTTP/1.1\r\nHost: gw\r\n" + proof

func TestARefusalComesInsteadOf100Continue(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for _, framing := range []string{"Content-Length: 1000000\r\n", "Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"} {
		conn := w.Dial()
		from := bufio.NewReader(conn)
		_, _ = io.WriteString(conn, post+"Expect: 100-continue\r\n"+framing+"\r\n")
		res, body := gatewaytest.ReadAnswer(t, from)
		refused(t, w, res, body, verdict{400, "user_required", "identify", "x-user-id"})
		if !res.Close {
			t.Error("the connection is kept, with a body that may or may not follow")
		}
		if _, err := from.ReadByte(); err != io.EOF {
			t.Errorf("then %v", err)
		}
	}
}

func TestARefusalDoesNotWaitForAStalledUpload(t *testing.T) {
	for _, upload := range []string{
		"Content-Length: 1000000\r\n\r\nand then nothing",
		"Content-Length: 1000\r\n\r\nand then nothing",
		"Content-Length: 1000\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
		"Transfer-Encoding: chunked\r\n\r\n",
	} {
		w := gatewaytest.New(t, gatewaytest.Options{})
		conn := w.Dial()
		from := bufio.NewReader(conn)
		_, _ = io.WriteString(conn, post+upload)
		res, body := gatewaytest.ReadAnswer(t, from)
		refused(t, w, res, body, verdict{400, "user_required", "identify", "x-user-id"})
		if !res.Close {
			t.Errorf("%q: the connection is kept", upload)
		}
		if _, err := from.ReadByte(); err != io.EOF {
			t.Errorf("%q: then %v", upload, err)
		}
	}
}

// inTime gives a test some tries, for what the gateway does only where a busy
// machine lets it: it waits for a moment, but not for ever.
func inTime(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 20 {
		if err = try(); err == nil {
			return
		}
	}
	t.Error(err)
}

func TestARefusalAfterAWholeSmallBodyKeepsTheConnection(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for _, upload := range []string{
		"Content-Length: 4\r\n\r\nbody",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"Content-Length: 65536\r\n\r\n" + strings.Repeat("x", 65536),
		"Content-Length: 0\r\n\r\n",
	} {
		inTime(t, func() error {
			conn := w.Dial()
			from := bufio.NewReader(conn)
			for range 3 {
				_, _ = io.WriteString(conn, post+upload)
				res, body := gatewaytest.ReadAnswer(t, from)
				refused(t, w, res, body, verdict{400, "user_required", "identify", "x-user-id"})
				if res.Close {
					return fmt.Errorf("%.30q: the connection is closed", upload)
				}
				_, _ = io.WriteString(conn, post+"X-User-Id: ada\r\n"+upload)
				if res, body := gatewaytest.ReadAnswer(t, from); res.StatusCode != 200 || body != "ok" || res.Close {
					t.Errorf("the next one: %s %q, close %v", res.Status, body, res.Close)
				}
				w.Event()
			}
			return nil
		})
	}
}

// A connection that is closed over unread bytes is reset, and on the way through a
// network the reset can overtake the answer.
func TestARefusedUploadIsNotAnsweredByAReset(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<16, strings.Repeat("x", 1<<16))
	for _, upload := range []string{
		"Content-Length: 524288\r\n\r\n" + strings.Repeat("x", 1<<19),
		"Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 8) + "0\r\n\r\n",
	} {
		inTime(t, func() error {
			conn := w.Dial()
			if _, err := io.WriteString(conn, post+upload); err != nil {
				return fmt.Errorf("the upload ended with %w", err)
			}
			from := bufio.NewReader(conn)
			res, body := gatewaytest.ReadAnswer(t, from)
			refused(t, w, res, body, verdict{400, "user_required", "identify", "x-user-id"})
			if !res.Close { // it was read in the moment before the answer
				return nil
			}
			if _, err := from.ReadByte(); err != io.EOF {
				return fmt.Errorf("%.30q: then %w", upload, err)
			}
			return nil
		})
	}
}

// The first part comes at once, the rest when the refusal has been read.
func TestASlowRefusedUploadIsNotAnsweredByAReset(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for _, parts := range [][2]string{
		{"Content-Length: 10\r\n\r\nfirst", "after"},
		{"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "5\r\nafter\r\n0\r\n\r\n"},
	} {
		inTime(t, func() error {
			conn := w.Dial()
			_, _ = io.WriteString(conn, post+parts[0])
			from := bufio.NewReader(conn)
			res, body := gatewaytest.ReadAnswer(t, from)
			refused(t, w, res, body, verdict{400, "user_required", "identify", "x-user-id"})
			if !res.Close {
				t.Error("the connection is kept over half an upload")
			}
			_, _ = io.WriteString(conn, parts[1])
			if _, err := from.ReadByte(); err != io.EOF {
				return fmt.Errorf("%q: then %w", parts, err)
			}
			return nil
		})
	}
}

// lateEOF is a body that says its end only when asked once more.
type lateEOF struct{ io.ReadCloser }

func (b lateEOF) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func TestSmallUploadsKeepTheirConnection(t *testing.T) {
	late := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = lateEOF{r.Body}
			next.ServeHTTP(w, r)
		})
	}
	for name, wrap := range map[string]func(http.Handler) http.Handler{"plain": nil, "late end": late} {
		for _, overTLS := range []bool{false, true} {
			w := gatewaytest.New(t, gatewaytest.Options{TLS: overTLS, Handler: wrap})
			// Answers as soon as it has the bytes, which is before it has the end.
			w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 4))
				_, _ = io.WriteString(rw, "ok")
			})
			var callers sync.WaitGroup
			for range 4 {
				conn := w.Dial()
				callers.Go(func() { keepsItsConnection(t, name, conn) })
			}
			callers.Wait()
		}
	}
}

func keepsItsConnection(t *testing.T, name string, conn net.Conn) {
	from := bufio.NewReader(conn)
	for i := range 100 {
		_, _ = io.WriteString(conn, post+"X-User-Id: ada\r\nContent-Length: 4\r\n\r\nbody")
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Errorf("%s, request %d: %v", name, i, err)
			return
		}
		body, err := io.ReadAll(res.Body)
		if string(body) != "ok" || err != nil || res.Close {
			t.Errorf("%s, request %d: %q, %v, close %v", name, i, body, err, res.Close)
			return
		}
	}
}

func TestAClientThatHangsUpInItsUploadHoldsNothing(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		arrived, ended := gatewaytest.NewGate(t), gatewaytest.NewGate(t)
		w.Provider.Handle(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 5))
			arrived.Open()
			if gatewaytest.ReadBody(r).Err != nil {
				ended.Open()
			}
		})
		body, end := io.Pipe()
		go func() {
			_, _ = io.WriteString(end, "first")
			arrived.Wait()
			end.CloseWithError(errors.New("the client has had enough"))
		}()
		if res, err := w.Client.Do(w.Request("POST", address+"/acme/x", body)); err == nil {
			t.Errorf("answered %s", res.Status)
			res.Body.Close()
		}
		if !ended.Wait() {
			t.Error("the provider took half an upload for a whole one")
		}
		if e := w.Event(); e.Status != 499 && (e.Status != 400 || e.Rule != "upload") {
			t.Errorf("event %+v", e)
		}
	})
}

func TestABodyThatIsTooLargeForTheSiteIs413(t *testing.T) {
	limited := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 10)
			next.ServeHTTP(w, r)
		})
	}
	w := gatewaytest.New(t, gatewaytest.Options{Handler: limited})
	for _, upload := range []string{"Content-Length: 20\r\n\r\n" + strings.Repeat("x", 20), "Transfer-Encoding: chunked\r\n\r\n14\r\n" + strings.Repeat("x", 20) + "\r\n0\r\n\r\n"} {
		res, body := rawAnswer(t, w, post+"X-User-Id: ada\r\n"+upload)
		refused(t, w, res, body, verdict{413, "bad_request", "send", "max_size"})
	}
}
