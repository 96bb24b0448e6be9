// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package streamtest

import (
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

var weighing = []promise{
	{words: "a large body takes no memory", check: largeBodies, inTurn: true},
}

func largeBodies(t *testing.T, l *Lane) {
	size := l.suite.Large
	arrived := make(chan *gauge, 1)
	l.provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			g := newGauge(size)
			if _, err := io.Copy(g, r.Body); err != nil || r.ContentLength != size {
				t.Errorf("the upload of %d: %v", r.ContentLength, err)
			}
			arrived <- g
			return
		}
		rw.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		_, _ = io.Copy(rw, newPattern(size))
	})
	res := l.begin(t, l.request(t, "GET", nil))
	g := newGauge(size)
	if _, err := io.Copy(g, res.Body); err != nil || res.ContentLength != size {
		t.Errorf("the download of %d: %v", res.ContentLength, err)
	}
	g.check(t, size)
	r := l.request(t, "POST", newPattern(size))
	r.ContentLength = size
	l.whole(t, r)
	(<-arrived).check(t, size)
}

// block's length is no power of two, so that a piece that is lost, doubled or moved
// changes the sum.
var block = func() []byte {
	b := make([]byte, 65_521)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}()

// pattern is a body of so many bytes.
type pattern struct{ left, at int64 }

func newPattern(size int64) *pattern { return &pattern{left: size} }

func sumOf(size int64) uint32 {
	sum := crc32.NewIEEE()
	_, _ = io.Copy(sum, newPattern(size))
	return sum.Sum32()
}

func (p *pattern) Read(into []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	from := block[p.at%int64(len(block)):]
	n := copy(into[:min(int64(len(into)), p.left)], from)
	p.left, p.at = p.left-int64(n), p.at+int64(n)
	return n, nil
}

// gauge takes a body in and looks at the heap on the way.
type gauge struct {
	sum        hash.Hash32
	got, step  int64
	least, top uint64
}

func newGauge(size int64) *gauge {
	// Twice, since what has a finalizer outlives the first collection.
	return &gauge{sum: crc32.NewIEEE(), step: size / 8, least: min(heap(), heap())}
}

func (g *gauge) Write(p []byte) (int, error) {
	before := g.got / g.step
	g.got += int64(len(p))
	if g.got/g.step != before {
		g.top = max(g.top, heap())
	}
	return g.sum.Write(p)
}

// check wants all of a pattern, and a heap that did not grow with it.
func (g *gauge) check(t *testing.T, size int64) {
	t.Helper()
	if want := sumOf(size); g.got != size || g.sum.Sum32() != want {
		t.Errorf("%d bytes arrived, sum %x; want %d, %x", g.got, g.sum.Sum32(), size, want)
	}
	bound := min(size/2, 32<<20)
	grown := int64(g.top) - int64(g.least)
	t.Logf("the heap grew by %d KiB over %d MiB", grown>>10, size>>20)
	if grown > bound {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// endless is an upload that goes on until it is ended.
type endless struct{ ended chan struct{} }

func (e endless) Read(p []byte) (int, error) {
	select {
	case <-e.ended:
		return 0, io.ErrUnexpectedEOF
	default:
		return strings.NewReader(strings.Repeat("x", len(p))).Read(p)
	}
}
