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
	source  io.Reader   // the server's body, which the server alone closes; nil: none
	length  int64       // as in http.Request.ContentLength
	trailer http.Header // the server fills it in when source ends
	limit   int64       // of captured bytes

	// reading is held while source is read. It is apart from mu, so that a
	// slow upload does not hold up the decision to send again.
	reading sync.Mutex

	mu         sync.Mutex
	reader     *replayReader // the latest
	generation int           // the reader that counts now; -1 after the end
	taken      int64         // bytes read from source
	captured   []byte        // all of them, or too few: then the beginning is lost
	failure    error         // of source; io.EOF at its end
}

func newReplay(r *http.Request) *replay {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return &replay{failure: io.EOF}
	}
	return &replay{source: r.Body, length: r.ContentLength, trailer: r.Trailer}
}

// empty reports whether there is no body.
func (b *replay) empty() bool { return b.source == nil }

// open gives a reader over the whole body and retires the one before. It is not
// ok if bytes of the body are gone. The reader fills in trailer's values before it
// says io.EOF. Each attempt needs a trailer of its own: the server writes to the
// request's map whenever a retired reader meets the end, and a map that is written
// while a transport reads it ends the whole process.
func (b *replay) open(trailer http.Header) (r io.ReadCloser, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.generation < 0 || !b.wholeLocked() || b.failure != nil && b.failure != io.EOF {
		return nil, false
	}
	b.generation++
	b.reader = &replayReader{body: b, generation: b.generation, trailer: trailer}
	return b.reader, true
}

// whole reports whether it can be sent again as things stand.
func (b *replay) whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.generation >= 0 && b.wholeLocked() && (b.failure == nil || b.failure == io.EOF)
}

// Peek reads the beginning ahead, whatever the capture's limit. The first reader gets it
// from the capture.
func (b *replay) Peek(limit int) (head []byte, whole bool, err error) {
	if b.empty() {
		return nil, true, nil
	}
	b.reading.Lock()
	defer b.reading.Unlock()
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	for b.unread() && b.sourceError() == nil && len(b.captured) <= limit {
		n, err := b.source.Read((*buffer)[:min(len(*buffer), limit+1-len(b.captured))])
		b.mu.Lock()
		b.tookLocked((*buffer)[:n], err, true)
		b.mu.Unlock()
	}
	return b.captured[:min(len(b.captured), limit)], !b.unread() && len(b.captured) <= limit, b.sourceError()
}

// forget lets go of the capture: there is an answer, and the body is not sent again. What
// the latest reader has not had yet is kept for it.
func (b *replay) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = -1
	b.dropLocked()
}

func (b *replay) dropLocked() {
	if r := b.reader; b.limit < 0 && (r == nil || r.at == len(b.captured)) {
		b.captured = nil
		if r != nil {
			r.at = 0
		}
	}
}

// retire ends all reading but for one read that may be under way.
func (b *replay) retire() {
	b.mu.Lock()
	b.generation = -1
	b.mu.Unlock()
}

// wait returns when no read is under way. After retire the server may then have
// the source back.
func (b *replay) wait() {
	b.reading.Lock()
	defer b.reading.Unlock()
}

// drain reads on for nobody, until the end or a failure, such as a deadline's.
func (b *replay) drain() {
	b.reading.Lock()
	defer b.reading.Unlock()
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	for b.unread() && b.sourceError() == nil {
		n, err := b.source.Read(*buffer)
		b.mu.Lock()
		b.tookLocked((*buffer)[:n], err, false)
		b.mu.Unlock()
	}
}

// unread reports whether the source has not been read to its end. Some readers say
// so only when they are asked once more, and nobody may ever ask.
func (b *replay) unread() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.source != nil && b.failure != io.EOF && b.taken != b.length
}

// untouched reports whether nobody has asked for the body.
func (b *replay) untouched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken == 0 && b.failure == nil
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
	trailer    http.Header
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
		b.dropLocked()
		return n, true, nil
	case b.failure != nil:
		return 0, true, r.endLocked(b.failure)
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
	b.tookLocked(p[:n], err, retired)
	if retired {
		return 0, true, errRetired
	}
	r.at = len(b.captured)
	return n, true, r.endLocked(err)
}

// behind reports whether fromCapture has something to say.
func (r *replayReader) behind() bool {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.generation != b.generation || r.at < len(b.captured) || b.failure != nil
}

// endLocked hands over the trailer, which is complete at io.EOF and not before. What
// net/http sends again by itself shares one trailer with its first try, which may
// still be reading what is there already.
func (r *replayReader) endLocked(err error) error {
	if err == io.EOF {
		for name, there := range r.trailer {
			if values := r.body.trailer[name]; there == nil && values != nil {
				r.trailer[name] = values
			}
		}
	}
	return err
}

// tookLocked notes what a read of source gave. It is captured if the next reader
// will need it or there is room.
func (b *replay) tookLocked(p []byte, err error, needed bool) {
	if b.wholeLocked() {
		if needed || b.taken+int64(len(p)) <= b.limit {
			b.captured = append(b.captured, p...)
		} else {
			b.captured = nil
		}
	}
	b.taken += int64(len(p))
	if err != nil {
		b.failure = err
	}
}

func (b *replay) wholeLocked() bool { return b.taken == int64(len(b.captured)) }
