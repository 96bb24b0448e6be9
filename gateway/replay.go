// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// errRetired is what a reader gets after another one took its place.
var errRetired = errors.New("gateway: the body is being sent again")

// replay is a request's body that is captured while it streams, so that it can be
// sent again after a 401. Nothing waits for the capture; past its limit only the
// replay is lost, never the upload.
//
// RoundTrip may return before the body is written: on an early 401 the first
// reader can still be in Read, and the bytes it gets there belong to whoever reads
// next. Hence generations: "can it be replayed?" and "retire the old reader" are
// one step under one lock, and what a retired reader still takes from the source
// is captured whatever the limit. The obvious way, a TeeReader and a bytes.Buffer,
// corrupts uploads.
type replay struct {
	source io.Reader // the server's body, which the server alone closes; nil: none
	length int64     // as in http.Request.ContentLength
	limit  int64     // of captured bytes

	// reading is held while source is read. It is apart from mu, so that a
	// slow upload does not hold up the decision to send again.
	reading sync.Mutex

	mu         sync.Mutex
	generation int    // the reader that counts now; -1 after the end
	captured   []byte // all bytes from source so far, unless lost
	lost       bool   // too many to capture
	failure    error  // of source; io.EOF at its end
}

func newReplay(r *http.Request) *replay {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return &replay{failure: io.EOF}
	}
	return &replay{source: r.Body, length: r.ContentLength}
}

// empty reports whether there is no body.
func (b *replay) empty() bool { return b.source == nil }

// open gives a reader over the whole body and retires the one before. It is not
// ok if bytes of the body are gone.
func (b *replay) open() (r io.ReadCloser, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.generation < 0 || b.lost || b.failure != nil && b.failure != io.EOF {
		return nil, false
	}
	b.generation++
	return &replayReader{body: b, generation: b.generation}, true
}

// retire ends all reading. Afterwards nobody touches the source, and the server
// may have it back; a read that is under way has to be ended by its deadline.
func (b *replay) retire() {
	b.mu.Lock()
	b.generation = -1
	b.mu.Unlock()
	b.reading.Lock() // waits for a read that is under way
	b.reading.Unlock()
}

// unread reports whether the source has not been read to its end.
func (b *replay) unread() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.source != nil && b.failure != io.EOF
}

// sourceError is what went wrong with the agent's side of the upload, if it did.
func (b *replay) sourceError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failure == io.EOF {
		return nil
	}
	return b.failure
}

type replayReader struct {
	body       *replay
	generation int
	at         int // in captured
}

// Close does nothing: the body is the server's.
func (r *replayReader) Close() error { return nil }

// Read gives captured bytes first and then the source's.
func (r *replayReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n, done, err := r.fromCapture(p); done {
			return n, err
		}
		if n, done, err := r.fromSource(p); done {
			return n, err
		}
	}
}

func (r *replayReader) fromCapture(p []byte) (n int, done bool, err error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.generation != b.generation:
		return 0, true, errRetired
	case r.at < len(b.captured):
		n = copy(p, b.captured[r.at:])
		r.at += n
		return n, true, nil
	case b.failure != nil:
		return 0, true, b.failure
	}
	return 0, false, nil
}

// fromSource reads on, unless an older reader captured more in the meantime.
func (r *replayReader) fromSource(p []byte) (n int, done bool, err error) {
	b := r.body
	b.reading.Lock()
	defer b.reading.Unlock()
	if r.behind() {
		return 0, false, nil
	}
	n, err = b.source.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	retired := r.generation != b.generation
	b.captureLocked(p[:n], retired)
	if err != nil {
		b.failure = err
	}
	if retired {
		return 0, true, errRetired
	}
	r.at = len(b.captured)
	return n, true, err
}

// behind reports whether fromCapture has something to say.
func (r *replayReader) behind() bool {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.generation != b.generation || r.at < len(b.captured) || b.failure != nil
}

func (b *replay) captureLocked(p []byte, needed bool) {
	if b.lost {
		return
	}
	if !needed && int64(len(b.captured)+len(p)) > b.limit {
		b.captured, b.lost = nil, true
		return
	}
	b.captured = append(b.captured, p...)
}
