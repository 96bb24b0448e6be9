// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

func replayOf(source io.Reader, length, limit int64) *replay {
	b := newReplay(&http.Request{Body: io.NopCloser(source), ContentLength: length, Trailer: http.Header{"X-Sum": {"abc"}}})
	b.limit = limit
	return b
}

// Each byte of script reads some bytes or sends the body again. Whatever happens, a
// reader sees the body from its beginning, and the newest one to its end; only what
// went past the limit cannot be sent again.
func FuzzReplay(f *testing.F) {
	f.Add([]byte("the body"), []byte{3, 128, 5, 128, 1}, uint16(100), false)
	f.Add([]byte("the body"), []byte{3, 128, 6, 2}, uint16(4), true)
	f.Add([]byte{}, []byte{128, 1}, uint16(0), false)
	f.Add(bytes.Repeat([]byte("x"), 300), []byte{127, 127, 127, 128}, uint16(300), true)
	f.Fuzz(func(t *testing.T, body, script []byte, limit uint16, lateEOF bool) {
		var source io.Reader = bytes.NewReader(body)
		if !lateEOF {
			source = iotest.DataErrReader(source)
		}
		b := replayOf(source, -1, int64(limit))
		reader, ok := b.open(nil)
		if !ok {
			t.Fatal("an untouched body cannot be sent")
		}
		var got []byte
		most := 0 // bytes that any reader has seen
		for _, op := range script {
			if op < 128 {
				p := make([]byte, op)
				n, _ := reader.Read(p)
				got = append(got, p[:n]...)
				most = max(most, len(got))
				continue
			}
			next, ok := b.open(nil)
			if fits := most <= int(limit); ok != fits {
				t.Fatalf("after %d bytes with a limit of %d: can be sent again %v", most, limit, ok)
			}
			if !ok {
				break
			}
			if n, err := reader.Read(make([]byte, 1)); n != 0 || err != errRetired {
				t.Fatalf("a retired reader goes on: %d, %v", n, err)
			}
			reader, got = next, nil
		}
		rest, err := io.ReadAll(reader)
		if got = append(got, rest...); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%q became %q, %v", body, got, err)
		}
		if b.unread() {
			t.Fatal("all is read, and some is left")
		}
	})
}

// handed tells that a Read has begun, and gives it a piece when one is there.
type handed struct {
	begun  chan struct{}
	pieces chan string
}

func newHanded() handed { return handed{make(chan struct{}, 16), make(chan string)} }

func (h handed) Read(p []byte) (int, error) {
	h.begun <- struct{}{}
	piece, more := <-h.pieces
	if !more {
		return 0, io.EOF
	}
	return copy(p, piece), nil
}

func TestWhatARetiredReaderTakesBelongsToTheNext(t *testing.T) {
	source := newHanded()
	b := replayOf(source, -1, 0) // nothing is captured, but for this
	old, _ := b.open(nil)
	var reading sync.WaitGroup
	reading.Go(func() {
		if n, err := old.Read(make([]byte, 8)); n != 0 || err != errRetired {
			t.Errorf("the retired reader got %d bytes, %v", n, err)
		}
	})
	<-source.begun
	next, ok := b.open(nil)
	if !ok {
		t.Fatal("nothing is lost, and it cannot be sent again")
	}
	go func() {
		for _, piece := range []string{"the", " whole", " body"} {
			source.pieces <- piece
		}
		close(source.pieces)
	}()
	whole, err := io.ReadAll(next)
	if string(whole) != "the whole body" || err != nil {
		t.Errorf("the next reader got %q, %v", whole, err)
	}
	reading.Wait()
}

func TestAfterRetireAndWaitNobodyTouchesTheSource(t *testing.T) {
	source := newHanded()
	b := replayOf(source, -1, 100)
	reader, _ := b.open(nil)
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = reader.Read(make([]byte, 8)) })
	<-source.begun
	b.retire()
	waited := make(chan struct{})
	go func() { b.wait(); close(waited) }()
	select {
	case <-waited:
		t.Error("a read is under way, and nobody waits for it")
	default:
	}
	source.pieces <- "held"
	<-waited
	reading.Wait()
	if _, err := reader.Read(make([]byte, 8)); err != errRetired {
		t.Errorf("the reader goes on: %v", err)
	}
	if _, ok := b.open(nil); ok {
		t.Error("it is sent again")
	}
}

func TestAFailedSourceIsNotSentAgain(t *testing.T) {
	broken := errors.New("broken")
	b := replayOf(iotest.ErrReader(broken), 10, 100)
	reader, _ := b.open(nil)
	if _, err := io.ReadAll(reader); err != broken || b.sourceError() != broken {
		t.Errorf("failed with %v, %v", err, b.sourceError())
	}
	if _, ok := b.open(nil); ok || !b.unread() {
		t.Errorf("sent again %v, unread %v", ok, b.unread())
	}
}

func TestTheTrailerComesWithTheEndAndNotBefore(t *testing.T) {
	b := replayOf(bytes.NewReader([]byte("body")), 4, 100)
	for range 2 {
		trailer := http.Header{"X-Sum": nil}
		reader, _ := b.open(trailer)
		_, _ = io.ReadFull(reader, make([]byte, 4))
		if trailer["X-Sum"] != nil {
			t.Error("the trailer came before the end")
		}
		if _, err := reader.Read(make([]byte, 1)); err != io.EOF || trailer.Get("X-Sum") != "abc" {
			t.Errorf("at the end %v with %v", err, trailer)
		}
	}
}

func TestBodiesThatAreNone(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"nil": {}, "NoBody": {Body: http.NoBody, ContentLength: -1}, "of length 0": {Body: io.NopCloser(iotest.ErrReader(nil))},
	} {
		if b := newReplay(r); !b.empty() || b.unread() || b.sourceError() != nil {
			t.Errorf("%s is taken for a body", name)
		}
	}
}

func TestDrainReadsToTheEndOrAFailure(t *testing.T) {
	b := replayOf(bytes.NewReader(make([]byte, 100_000)), 100_000, 0)
	b.retire()
	b.drain()
	if b.taken != 100_000 || b.failure != nil || b.unread() { // though nobody has said that this is the end
		t.Errorf("took %d, %v", b.taken, b.failure)
	}
	broken := errors.New("broken")
	b = replayOf(io.MultiReader(bytes.NewReader(make([]byte, 10)), iotest.ErrReader(broken)), 100, 0)
	for range 2 {
		b.drain()
		if b.taken != 10 || !b.unread() || b.sourceError() != broken {
			t.Errorf("took %d, %v", b.taken, b.sourceError())
		}
	}
}

// A long answer would otherwise hold its upload in memory to its end.
func TestAnUploadThatIsNotSentAgainIsForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		first, second int    // bytes that are read; second -1: it is not sent again
		at            string // what is kept then
	}{
		"it was read":                    {9, -1, ""},
		"it is being read":               {3, -1, ""},
		"it was not read":                {0, -1, ""},
		"it is read for the second time": {9, 2, "the body"},
		"and not yet":                    {5, 0, "the b"},
		"and is as far as before":        {5, 5, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := replayOf(strings.NewReader("the body"), -1, 100)
			reader, _ := b.open(nil)
			got := make([]byte, 9)
			n, _ := io.ReadFull(reader, got[:c.first])
			if c.second >= 0 {
				reader, _ = b.open(nil)
				n, _ = io.ReadFull(reader, got[:c.second])
			}
			b.forget()
			if string(b.captured) != c.at {
				t.Errorf("kept at first: %q", b.captured)
			}
			rest, err := io.ReadAll(reader)
			if string(got[:n])+string(rest) != "the body" || err != nil || b.captured != nil {
				t.Errorf("read %q, then %q, %v; kept %q", got[:n], rest, err, b.captured)
			}
		})
	}
}
