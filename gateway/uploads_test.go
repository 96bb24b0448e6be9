// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// upload is one random upload whose token is refused the first time.
type upload struct {
	body    []byte
	chunked bool
	trailer bool // sent behind the chunks
	refuse  int  // the provider refuses after so many bytes; -1: after all
	pieces  int  // the client sends in so many pieces
	broken  bool // the client breaks off before the last one
}

// A trailer that comes after an early answer ends the connection of Go's HTTP/2
// server with a PROTOCOL_ERROR, and with it every other request, so earlyTrailer is
// for other providers.
func randomUpload(rng *rand.Rand, earlyTrailer bool) upload {
	size := []int{1, 100, 5_000, 70_000, 400_000}[rng.IntN(5)]
	u := upload{body: make([]byte, 1+rng.IntN(size)), chunked: rng.IntN(2) == 0, refuse: -1, pieces: 1 + rng.IntN(5), broken: rng.IntN(10) == 0}
	for i := range u.body {
		u.body[i] = byte(rng.Uint32())
	}
	switch rng.IntN(3) {
	case 0:
		u.refuse = rng.IntN(len(u.body))
	case 1:
		u.refuse = 0
	}
	u.trailer = u.chunked && rng.IntN(2) == 0 && (earlyTrailer || u.refuse < 0)
	return u
}

// Hundreds of random uploads, refused early, late and in
// between, sent again, over every protocol, compared by hash at the provider.
func TestNotOneByteIsCorruptMissingOrDoubled(t *testing.T) {
	const perWorker, workers = 25, 4
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		w.Provider.Handle(checkUpload)
		var running sync.WaitGroup
		for worker := range workers {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			running.Go(func() {
				for i := range perWorker {
					tryUpload(t, w, address, fmt.Sprintf("user-%d", worker), fmt.Sprintf("token-%d-%d", worker, i), randomUpload(rng, strings.HasPrefix(w.Provider.URL, "http:")))
				}
			})
		}
		running.Wait()
	})
}

// checkUpload refuses the first token of a connection and compares what comes with
// the second one.
func checkUpload(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(gatewaytest.Token(r), ".2") {
		refuseUpload(w, r)
		return
	}
	hash := sha256.New()
	_, err := io.Copy(hash, r.Body)
	switch got := hex.EncodeToString(hash.Sum(nil)); {
	case err != nil:
		panic(http.ErrAbortHandler) // the client broke off
	case got != r.Header.Get("X-Want") || r.Header.Get("X-Trailed") != r.Trailer.Get("X-Sum"):
		http.Error(w, "the upload is corrupt", http.StatusUnprocessableEntity)
	}
}

func refuseUpload(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.Atoi(r.Header.Get("X-Refuse-After"))
	if after < 0 {
		_, _ = io.Copy(io.Discard, r.Body)
	} else {
		_ = http.NewResponseController(w).EnableFullDuplex()
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.CopyN(io.Discard, r.Body, int64(after))
	}
	w.WriteHeader(401)
}

func tryUpload(t *testing.T, w *gatewaytest.World, address, user, token string, u upload) {
	w.Credentials.Connect(user, w.Toolkits["acme"], token)
	var body io.Reader = &slowBody{rest: u.body, piece: len(u.body)/u.pieces + 1, broken: u.broken}
	r := w.Request("POST", address+"/acme/upload", body)
	if !u.chunked {
		r.ContentLength = int64(len(u.body))
	}
	sum := sha256.Sum256(u.body)
	r.Header.Set("X-User-Id", user)
	r.Header.Set("X-Refuse-After", strconv.Itoa(u.refuse))
	r.Header.Set("X-Want", hex.EncodeToString(sum[:]))
	if u.trailer {
		r.Header.Set("X-Trailed", "abc")
		r.Trailer = http.Header{"X-Sum": {"abc"}}
	}
	res, err := w.Client.Do(r)
	if err != nil {
		if !u.broken {
			t.Errorf("%s: %v", token, err)
		}
		return
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if ok := res.StatusCode == 200; ok == u.broken {
		e := w.Event()
		for e.RequestID != res.Header.Get("X-Toolgate-Request-Id") {
			e = w.Event()
		}
		t.Errorf("%s, %d bytes, chunked %v, refused after %d, broken %v: %s %s\n%+v", token, len(u.body), u.chunked, u.refuse, u.broken, res.Status, text, e)
	}
}

// slowBody gives others a turn between its pieces.
type slowBody struct {
	rest   []byte
	piece  int
	broken bool
}

func (b *slowBody) Read(p []byte) (int, error) {
	runtime.Gosched()
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	if b.broken && len(b.rest) <= b.piece {
		return 0, errors.New("the client breaks off")
	}
	n := copy(p, b.rest[:min(b.piece, len(b.rest))])
	b.rest = b.rest[n:]
	return n, nil
}

// An early 401 must not wait for a client that sends slowly.
func TestAnEarly401IsMendedWhileTheClientStillSends(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		second := gatewaytest.NewGate(t)
		got := make(chan []byte, 1)
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			if gatewaytest.Token(r) == gatewaytest.UserToken {
				r.Header.Set("X-Refuse-After", "5")
				refuseUpload(rw, r)
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
		if res, text := w.Do(w.Request("POST", address+"/acme/x", body)); res.StatusCode != 200 {
			t.Fatalf("answered %s %s", res.Status, text)
		}
		if whole := <-got; !bytes.Equal(whole, []byte("firstrest")) {
			t.Errorf("the provider read %q", whole)
		}
	})
}
