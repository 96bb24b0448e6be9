// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

// bounded is a world whose acme has times and sizes.
func bounded(t *testing.T, times toolkit.Times, sizes toolkit.Sizes) *gatewaytest.World {
	return gatewaytest.New(t, gatewaytest.Options{Acme: func(tk *toolkit.Toolkit) { tk.Times, tk.Sizes = times, sizes }})
}

func TestAnUploadHasASize(t *testing.T) {
	for _, c := range []struct {
		size   int
		length int64 // as it is said
		want   int
	}{{1000, 1000, 200}, {1001, 1001, 413}, {1000, -1, 200}, {1001, -1, 413}, {200_000, -1, 413}, {0, 0, 200}} {
		w := bounded(t, toolkit.Times{}, toolkit.Sizes{Request: 1000})
		for _, base := range []string{w.H1, w.H2} {
			r := w.Request("POST", base+"/acme/x", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", c.size))})
			r.ContentLength = c.length
			res, body := w.Do(r)
			if res.StatusCode != c.want || c.want == 413 && !strings.Contains(body, `"rule":"max_size"`) {
				t.Errorf("%d bytes, said %d: %d %s", c.size, c.length, res.StatusCode, body)
			}
		}
		if c.length > 1000 && w.Provider.Calls() != 0 {
			t.Error("it was sent")
		}
	}
}

func TestAnAnswerHasASize(t *testing.T) {
	for _, c := range []struct {
		size  int
		said  bool
		want  int
		whole bool
	}{{1000, true, 200, true}, {1001, true, 502, true}, {1000, false, 200, true}, {1001, false, 200, false}, {100_000, false, 200, false}} {
		w := bounded(t, toolkit.Times{}, toolkit.Sizes{Response: 1000})
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			if !c.said {
				_ = http.NewResponseController(rw).Flush()
			}
			_, _ = io.WriteString(rw, strings.Repeat("x", c.size))
		})
		res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/x", nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.want || (err == nil) != c.whole || !c.whole && len(body) > 1000 {
			t.Errorf("%d bytes, said: %v: %d, %d bytes, %v", c.size, c.said, res.StatusCode, len(body), err)
		}
		if c.want == 502 && !strings.Contains(string(body), `"code":"response_too_large"`) {
			t.Errorf("%s", body)
		}
	}
}

func TestAHeadIsAsLongAsItSays(t *testing.T) {
	w := bounded(t, toolkit.Times{}, toolkit.Sizes{Response: 10})
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Content-Length", "1000") })
	if res, _ := w.Do(w.Request("HEAD", w.H1+"/acme/x", nil)); res.StatusCode != 200 || res.ContentLength != 1000 {
		t.Errorf("%d, %d", res.StatusCode, res.ContentLength)
	}
}

func TestACallHasATime(t *testing.T) {
	w := bounded(t, toolkit.Times{Total: 50 * time.Millisecond}, toolkit.Sizes{})
	gate := gatewaytest.NewGate(t)
	w.Provider.Handle(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	res, body := w.Get("/acme/x")
	refused(t, w, res, body, verdict{504, "upstream_timeout", "send", "timeout"})

	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "begun")
		_ = http.NewResponseController(rw).Flush()
		gate.Wait()
	})
	cutOff(t, w, "begun")
}

func TestAnAnswerThatGoesSilentIsCutOff(t *testing.T) {
	w := bounded(t, toolkit.Times{Idle: 1500 * time.Millisecond}, toolkit.Sizes{})
	gate := gatewaytest.NewGate(t)
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		// Longer than the limit, and never silent for so long. Sockets are no part of a
		// bubble, so the clock is the real one; a second of room is for a busy machine.
		for range 5 {
			_, _ = io.WriteString(rw, "word ")
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(350 * time.Millisecond)
		}
		gate.Wait()
	})
	cutOff(t, w, "word word word word word ")
	if e := w.Event(); e.Err == nil || !strings.Contains(e.Err.Error(), "idle_timeout") {
		t.Errorf("the log says %v", e.Err)
	}
}

// cutOff wants an answer that begins so and breaks off.
func cutOff(t *testing.T, w *gatewaytest.World, begins string) {
	t.Helper()
	res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil || string(body) != begins {
		t.Errorf("%q, %v", body, err)
	}
}
