// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/toolgate/toolgate/egress"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// upload is one random upload whose token is refused the first time.
type upload struct {
	body    []byte
	chunked bool
	trailer bool // sent behind the chunks
	refuse  int  // the provider refuses after so many bytes; -1: after all
	twice   bool // and the renewed token too
	pieces  int  // the client sends in so many pieces
	ends    end  // how the client's side does
}

// end is how an upload ends.
type end string

const (
	whole     end = "whole"
	broken    end = "broken"    // the client's body fails before the last piece
	cancelled end = "cancelled" // the client hangs up before the last piece
)

// uploadLimit is the toolkit's max_replay.
const uploadLimit = 64 << 10

// A trailer that comes after an early answer ends the connection of Go's HTTP/2
// server with a PROTOCOL_ERROR, and with it every other request. So earlyTrailer is
// for other providers, and there is none where the gateway itself answers early.
func randomUpload(rng *rand.Rand, earlyTrailer bool) upload {
	sizes := []int{1, 1 + rng.IntN(100), 1 + rng.IntN(5_000), uploadLimit - 1, uploadLimit, uploadLimit + 1, 1 + rng.IntN(2*uploadLimit), 1 + rng.IntN(400_000)}
	u := upload{
		body: make([]byte, sizes[rng.IntN(len(sizes))]), chunked: rng.IntN(2) == 0, refuse: -1, pieces: 1 + rng.IntN(5), twice: rng.IntN(8) == 0,
		ends: []end{broken, cancelled, whole, whole, whole, whole, whole, whole, whole, whole}[rng.IntN(10)],
	}
	for i := range u.body {
		u.body[i] = byte(rng.Uint32())
	}
	switch rng.IntN(3) {
	case 0:
		u.refuse = rng.IntN(len(u.body))
	case 1:
		u.refuse = 0
	}
	u.trailer = u.chunked && rng.IntN(2) == 0 && (u.refuse < 0 || earlyTrailer && !u.twice && len(u.body) <= uploadLimit)
	return u
}

func (u upload) String() string {
	return fmt.Sprintf("%d bytes in %d pieces, chunked %v, refused after %d, twice %v, %s", len(u.body), u.pieces, u.chunked, u.refuse, u.twice, u.ends)
}

// Hundreds of random uploads, refused early, late and in between, at, under and over
// the limit of what can be sent again, over every protocol, compared by hash at the
// provider.
func TestNotOneByteIsCorruptMissingOrDoubled(t *testing.T) {
	const workers = 4
	perWorker := 60 // for each of four ways
	if os.Getenv("TOOLGATE_LONG") != "" {
		perWorker = 600
	}
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		w.Toolkits["acme"].MaxReplay = uploadLimit
		w.Provider.Handle(checkUpload)
		w.Client.Transport = apart(w.Client.Transport.(*http.Transport))
		var running sync.WaitGroup
		for worker := range workers {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			running.Go(func() {
				for i := range perWorker {
					u := randomUpload(rng, strings.HasPrefix(w.Provider.URL, "http:"))
					tryUpload(t, w, address, fmt.Sprintf("user-%d-%d", worker, i), u)
				}
			})
		}
		running.Wait()
	})
}

// apart keeps the test's own uploads from each other, as the gateway does with those
// to the provider: net/http closes a connection under the next request.
func apart(tr *http.Transport) http.RoundTripper {
	tr.DialContext = egress.Keep(tr.DialContext)
	return egress.Apart(tr)
}

// checkUpload refuses the first token of a connection, or any, and compares what
// comes with another.
func checkUpload(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Refuse-Twice") != "" || !strings.HasSuffix(gatewaytest.Token(r), ".2") {
		after, _ := strconv.ParseInt(r.Header.Get("X-Refuse-After"), 10, 64)
		gatewaytest.RefuseUpload(w, r, after)
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

// tryUpload uploads, and where the gateway asks for it, once more. Each upload has a
// user of its own, since one that was cancelled may still be on its way.
func tryUpload(t *testing.T, w *gatewaytest.World, address, user string, u upload) {
	w.Credentials.Connect(user, w.Toolkits["acme"], "token-of-"+user)
	status, text, err := sendUpload(w, address, user, u)
	large := len(u.body) > uploadLimit
	ok := false
	switch {
	case u.ends != whole:
		ok = err != nil || status != 200 && status != 422
	case u.twice:
		ok = status == 403 && strings.Contains(text, "provider_rejected_token") || large && status == 503
	case large && u.refuse < 0:
		ok = status == 503
	default:
		ok = status == 200 || large && status == 503 // that depends on how much was read before the refusal
	}
	if !ok {
		t.Errorf("%s: %v: %d %s, %v\n%s", user, u, status, text, err, causes(w, user))
	}
	if status != 503 || u.ends != whole {
		return
	}
	if !strings.Contains(text, "token_renewed") {
		t.Errorf("%s: %v: %s", user, u, text)
	}
	u.twice = false
	if status, text, err := sendUpload(w, address, user, u); status != 200 {
		t.Errorf("%s: %v, sent again: %d %s, %v", user, u, status, text, err)
	}
}

// causes are what lies behind a user's refusals.
func causes(w *gatewaytest.World, user string) (all string) {
	for _, e := range w.Events() {
		if e.Caller.User == user && e.Err != nil {
			all += fmt.Sprintf("%s at %s: %v (%T)\n", e.Code, e.Step, e.Err, e.Err)
		}
	}
	return all
}

func sendUpload(w *gatewaytest.World, address, user string, u upload) (status int, text string, err error) {
	ctx, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	from := &slowBody{rest: u.body, piece: len(u.body)/u.pieces + 1}
	switch u.ends {
	case broken:
		from.last = func() error { return errors.New("the client breaks off") }
	case cancelled:
		from.last = func() error { hangUp(); return ctx.Err() }
	}
	r := w.Request("POST", address+"/acme/upload", from).WithContext(ctx)
	if !u.chunked {
		r.ContentLength = int64(len(u.body))
	}
	sum := sha256.Sum256(u.body)
	r.Header.Set("X-User-Id", user)
	r.Header.Set("X-Refuse-After", strconv.Itoa(u.refuse))
	if u.twice {
		r.Header.Set("X-Refuse-Twice", "yes")
	}
	r.Header.Set("X-Want", hex.EncodeToString(sum[:]))
	if u.trailer {
		r.Header.Set("X-Trailed", "abc")
		r.Trailer = http.Header{"X-Sum": {"abc"}}
	}
	res, err := w.Client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// slowBody gives others a turn between its pieces.
type slowBody struct {
	rest  []byte
	piece int
	last  func() error // in place of the last piece
}

func (b *slowBody) Read(p []byte) (int, error) {
	runtime.Gosched()
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	if b.last != nil && len(b.rest) <= b.piece {
		return 0, b.last()
	}
	n := copy(p, b.rest[:min(b.piece, len(b.rest))])
	b.rest = b.rest[n:]
	return n, nil
}
