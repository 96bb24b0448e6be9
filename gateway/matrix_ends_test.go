// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// How what streams may end before its end, over every pair of protocols.

func TestMatrixAnEarlyAnswerEndsTheUpload(t *testing.T) {
	matrix(t, func(t *testing.T, l *lane) {
		l.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "too large", http.StatusRequestEntityTooLarge)
		})
		upload := endless{make(chan struct{})}
		defer close(upload.ended)
		res, got := l.whole(t, l.request("POST", upload))
		if res.StatusCode != http.StatusRequestEntityTooLarge || got != "too large\n" {
			t.Errorf("answered %s %q", res.Status, got)
		}
		l.Provider.Handle(nil)
		if res, got := l.whole(t, l.request("POST", strings.NewReader("next"))); res.StatusCode != 200 || got != "ok" {
			t.Errorf("the next one: %s %q", res.Status, got)
		}
	})
}

func TestMatrixWhoHangsUpCancelsTheCall(t *testing.T) {
	for _, stage := range []string{"before the answer", "in the answer"} {
		t.Run(stage, func(t *testing.T) {
			matrix(t, func(t *testing.T, l *lane) {
				called, cancelled := gatewaytest.NewGate(t), gatewaytest.NewGate(t)
				l.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
					if stage == "in the answer" {
						_, _ = io.WriteString(rw, "begun")
						rw.(http.Flusher).Flush()
					}
					called.Open()
					select {
					case <-r.Context().Done():
						cancelled.Open()
					case <-time.After(gatewaytest.Patience):
					}
				})
				r, hangUp := l.abandon(t, l.request("GET", nil))
				go func() {
					if stage == "before the answer" && called.Wait() {
						hangUp()
					}
				}()
				if res, err := l.client.Do(r); err == nil {
					hears(t, res.Body, "begun")
					hangUp()
					res.Body.Close()
				}
				if !cancelled.Wait() {
					t.Error("the provider still works on it")
				}
			})
		})
	}
}

func TestMatrixAnUploadThatBreaksOffHasNoEnd(t *testing.T) {
	matrix(t, func(t *testing.T, l *lane) {
		arrived, broken := gatewaytest.NewGate(t), make(chan error, 1)
		l.Provider.Handle(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 5))
			arrived.Open()
			_, err := io.Copy(io.Discard, r.Body)
			broken <- err
		})
		body, end := io.Pipe()
		go func() {
			_, _ = io.WriteString(end, "begun")
			arrived.Wait()
			end.CloseWithError(errors.New("over"))
		}()
		if res, err := l.client.Do(l.request("POST", body)); err == nil {
			res.Body.Close()
			t.Errorf("answered %s", res.Status)
		}
		select {
		case err := <-broken:
			if err == nil {
				t.Error("half an upload looks whole")
			}
		case <-time.After(gatewaytest.Patience):
			t.Error("the provider still waits for the rest")
		}
	})
}

func TestMatrixAnAnswerThatBreaksOffHasNoEnd(t *testing.T) {
	matrix(t, func(t *testing.T, l *lane) {
		for _, length := range []string{"", "100000"} {
			for _, size := range []int{0, 5, 50_000} {
				l.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
					if length != "" {
						rw.Header().Set("Content-Length", length)
					}
					_, _ = io.WriteString(rw, strings.Repeat("x", size))
					rw.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				})
				res, err := l.client.Do(l.request("GET", nil))
				if err != nil {
					t.Errorf("length %q, %d bytes: not even a header came: %v", length, size, err)
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err == nil {
					t.Errorf("length %q: a broken answer of %d bytes looks whole, %d came", length, size, len(body))
				}
			}
		}
	})
}

func TestMatrixAProviderThatIsSilentIsGivenUp(t *testing.T) {
	matrix(t, func(t *testing.T, l *lane) {
		for _, method := range []string{"GET", "POST"} {
			cancelled := gatewaytest.NewGate(t)
			l.Provider.Handle(func(_ http.ResponseWriter, r *http.Request) {
				gatewaytest.ReadBody(r)
				select {
				case <-r.Context().Done():
					cancelled.Open()
				case <-time.After(gatewaytest.Patience):
				}
			})
			var body io.Reader
			if method == "POST" {
				body = strings.NewReader("body")
			}
			res, text := l.whole(t, l.request(method, body))
			refused(t, l.World, res, text, verdict{504, "upstream_timeout", "send", "timeout"})
			if !cancelled.Wait() {
				t.Errorf("%s: the provider still works on it", method)
			}
		}
	}, func(out *http.Transport) { out.ResponseHeaderTimeout = 50 * time.Millisecond })
}
