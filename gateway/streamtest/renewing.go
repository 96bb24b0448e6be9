// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"bytes"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// A token that is refused in the middle of an upload costs nothing but time.
var renewing = []promise{
	{words: "an upload survives that its token is refused", check: refusedUploads},
	{words: "a refused token is mended while the upload goes on", check: refusedMeanwhile},
}

// refuser refuses the first token that comes for an upload.
type refuser struct {
	mu    sync.Mutex
	first map[string]string // the token, by upload
}

// again reports whether the upload comes with another token than the first time.
func (f *refuser) again(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	upload, token := r.Header.Get("X-Upload"), gatewaytest.Token(r)
	if f.first == nil {
		f.first = map[string]string{}
	}
	before, seen := f.first[upload]
	if !seen {
		f.first[upload] = token
	}
	return seen && before != token
}

func refusedUploads(t *testing.T, l *Lane) {
	const size = 300_000 // is captured whole, and is more than any buffer on the way
	var uploads refuser
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		if !uploads.again(r) {
			after, _ := strconv.ParseInt(r.Header.Get("X-Upload-After"), 10, 64)
			gatewaytest.RefuseUpload(rw, r, after)
			return
		}
		sum := crc32.NewIEEE()
		if n, err := io.Copy(sum, r.Body); n != size || err != nil || sum.Sum32() != sumOf(size) {
			t.Errorf("the second time came %d bytes, sum %x, %v", n, sum.Sum32(), err)
		}
	})
	for _, chunked := range []bool{true, false} {
		for _, after := range []string{"0", "1000", "200000", "-1"} {
			r := l.request(t, "POST", newPattern(size))
			if !chunked {
				r.ContentLength = size
			}
			r.Header.Set("X-Upload", after+strconv.FormatBool(chunked))
			r.Header.Set("X-Upload-After", after)
			if res, text := l.whole(t, r); res.StatusCode != 200 {
				t.Errorf("chunked %v, refused after %s: %s %s", chunked, after, res.Status, text)
			}
		}
	}
}

// An early 401 must not wait for a client that sends slowly.
func refusedMeanwhile(t *testing.T, l *Lane) {
	second := gatewaytest.NewGate(t)
	got := make(chan []byte, 1)
	var uploads refuser
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		if !uploads.again(r) {
			gatewaytest.RefuseUpload(rw, r, 5)
			return
		}
		first := make([]byte, 5)
		_, _ = io.ReadFull(r.Body, first)
		second.Open()
		rest, _ := io.ReadAll(r.Body)
		got <- append(first, rest...)
	})
	body, end := io.Pipe()
	go func() {
		_, _ = io.WriteString(end, "first")
		second.Wait() // the second attempt has begun
		_, _ = io.WriteString(end, "rest")
		end.Close()
	}()
	if res, text := l.whole(t, l.request(t, "POST", body)); res.StatusCode != 200 {
		t.Fatalf("answered %s %s", res.Status, text)
	}
	if whole := <-got; !bytes.Equal(whole, []byte("firstrest")) {
		t.Errorf("the provider read %q", whole)
	}
}
