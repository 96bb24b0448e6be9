// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

func TestAnEventArrivesBeforeTheNextIsSent(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		acknowledged := make(chan int)
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(rw, "data: %d\n\n", i)
				rw.(http.Flusher).Flush()
				select {
				case got := <-acknowledged:
					if got != i {
						t.Errorf("event %d was acknowledged as %d", i, got)
					}
				case <-r.Context().Done():
					return
				}
			}
		})
		res, err := w.Client.Do(w.Request("GET", address+"/acme/events", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		for i := range 3 {
			for lines.Scan() && lines.Text() == "" {
			}
			if want := "data: " + strconv.Itoa(i); lines.Text() != want {
				t.Fatalf("event %d is %q, %v", i, lines.Text(), lines.Err())
			}
			acknowledged <- i
		}
		for lines.Scan() {
		}
		if lines.Err() != nil {
			t.Errorf("the stream broke: %v", lines.Err())
		}
	})
}

func TestTheHeaderArrivesBeforeTheFirstByte(t *testing.T) {
	for _, length := range []string{"", "4"} {
		everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
			headerSeen := gatewaytest.NewGate(t)
			w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
				if length != "" {
					rw.Header().Set("Content-Length", length)
				}
				rw.(http.Flusher).Flush()
				if headerSeen.Wait() {
					_, _ = io.WriteString(rw, "body")
				}
			})
			res, err := w.Client.Do(w.Request("GET", address+"/acme/x", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			headerSeen.Open()
			if body, err := io.ReadAll(res.Body); string(body) != "body" || err != nil {
				t.Errorf("then came %q, %v", body, err)
			}
		})
	}
}

func TestAnUploadArrivesWhileItIsSent(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		arrived := gatewaytest.NewGate(t)
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			first := make([]byte, 5)
			_, _ = io.ReadFull(r.Body, first)
			arrived.Open()
			rest, err := io.ReadAll(r.Body)
			fmt.Fprintf(rw, "%s+%s %v", first, rest, err)
		})
		body, end := io.Pipe()
		go func() {
			_, _ = io.WriteString(end, "first")
			arrived.Wait()
			_, _ = io.WriteString(end, "second")
			end.Close()
		}()
		if _, got := w.Do(w.Request("POST", address+"/acme/x", body)); got != "first+second <nil>" {
			t.Errorf("the provider read %q", got)
		}
	})
}

func TestBothSidesTalkAtOnce(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(rw).EnableFullDuplex()
			rw.(http.Flusher).Flush()
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				fmt.Fprintf(rw, "got %s\n", lines.Text())
				rw.(http.Flusher).Flush()
			}
		})
		body, say := io.Pipe()
		res, err := w.Client.Do(w.Request("POST", address+"/acme/chat", body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answers := bufio.NewScanner(res.Body)
		for i := range 5 {
			fmt.Fprintf(say, "%d\n", i)
			if !answers.Scan() || answers.Text() != "got "+strconv.Itoa(i) {
				t.Fatalf("to %d came %q, %v", i, answers.Text(), answers.Err())
			}
		}
		say.Close()
		if answers.Scan() || answers.Err() != nil {
			t.Errorf("at the end came %q, %v", answers.Text(), answers.Err())
		}
	})
}

func TestALargeDownloadTakesNoMemory(t *testing.T) {
	const size = 256 << 20
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", strconv.Itoa(size))
		piece := make([]byte, 1<<20)
		for range size / len(piece) {
			if _, err := rw.Write(piece); err != nil {
				return
			}
		}
	})
	res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/large", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	before, most := heap(), uint64(0)
	got := int64(0)
	for range 16 {
		n, err := io.CopyN(io.Discard, res.Body, size/16)
		if got += n; err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		most = max(most, heap())
	}
	if most > before+16<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, most)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAnAgentThatHangsUpCancelsTheCall(t *testing.T) {
	for _, begun := range []bool{false, true} {
		everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
			called, cancelled := gatewaytest.NewGate(t), gatewaytest.NewGate(t)
			w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
				if begun {
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
			r := w.Request("GET", address+"/acme/x", nil)
			ctx, hangUp := context.WithCancel(r.Context())
			defer hangUp()
			if !begun {
				go func() { called.Wait(); hangUp() }()
			}
			if res, err := w.Client.Do(r.WithContext(ctx)); err == nil {
				hangUp()
				res.Body.Close()
			}
			if !cancelled.Wait() {
				t.Error("the provider still works on it")
			}
			want := map[bool]int{false: 499, true: 200}[begun]
			if e := w.Event(); e.Status != want || e.Err == nil || e.Code != "" {
				t.Errorf("event %+v", e)
			}
		})
	}
}

func TestAnAnswerThatBreaksOffIsSeenToBeBroken(t *testing.T) {
	for _, length := range []string{"", "1000"} {
		for _, size := range []int{5, 100_000} {
			if length != "" && size > 1000 {
				continue
			}
			everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
				w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
					if length != "" {
						rw.Header().Set("Content-Length", length)
					}
					_, _ = io.WriteString(rw, strings.Repeat("x", size))
					rw.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				})
				res, err := w.Client.Do(w.Request("GET", address+"/acme/x", nil))
				if err != nil {
					t.Fatalf("not even a header came: %v", err)
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				if err == nil {
					t.Errorf("a broken answer of %d bytes looks whole", len(body))
				}
				if e := w.Event(); e.Err == nil || e.Status != 200 {
					t.Errorf("event %+v", e)
				}
			})
		}
	}
}
