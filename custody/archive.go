// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// An archive is a file of sealed records, in JSON lines: a header, a line for each
// record in the order of their names, and an end with count and digest. What has no
// end was cut off.
const (
	archiveKind    = "toolgate store export"
	archiveVersion = 1
)

// Header is an archive's first line.
type Header struct {
	Kind    string    `json:"kind"`
	Version int       `json:"version"`
	Store   string    `json:"store,omitempty"` // tells stores apart, and says nothing about them
	Made    time.Time `json:"made"`            // when it was begun
	Keys    []string  `json:"keys"`            // the ids of the ring at that time
}

type end struct {
	End    bool           `json:"end"`
	Count  int            `json:"count"`
	Keys   map[string]int `json:"keys"` // how many each key sealed
	Digest string         `json:"digest"`
}

// line is a record, or the end.
type line struct {
	Record
	end
}

// ErrNotArchive: the file is something else.
var ErrNotArchive = errors.New("not a file of `toolgate store export`")

// ErrCut: the file has no end.
var ErrCut = errors.New("the file was cut off: it has no end")

// ErrChanged: the file is not what was written.
var ErrChanged = errors.New("the file is damaged: it is not what was written")

// Archive is what is known of an archive once all of it was read.
type Archive struct {
	Header Header
	Count  int
	Keys   map[string]int
	Digest string
	Last   []byte // the name of the last record
	Whole  bool   // it has an end, which was right
	Length int64  // up to where its lines are whole
}

// maxLine holds the largest record in base64.
const maxLine = 4 << 20

// ReadArchive reads an archive and gives each record to visit, in batches. Where
// partly is set, a file that was cut off is fine up to its last whole line: that is
// how an export goes on.
func ReadArchive(r io.Reader, partly bool, visit func([]Record) error) (Archive, error) {
	a := &archiveReader{in: bufio.NewReaderSize(r, 64<<10), digest: NewDigest(), visit: visit, Archive: Archive{Keys: map[string]int{}}}
	err := a.read()
	a.Count, a.Digest = a.digest.Count, a.digest.String()
	if partly && errors.Is(err, ErrCut) {
		err = nil
	}
	return a.Archive, err
}

type archiveReader struct {
	Archive
	in     *bufio.Reader
	digest *Digest
	batch  []Record
	visit  func([]Record) error
}

func (a *archiveReader) read() error {
	text, err := a.line()
	if err != nil {
		return ErrNotArchive
	}
	if json.Unmarshal(text, &a.Header) != nil || a.Header.Kind != archiveKind {
		return ErrNotArchive
	}
	if a.Header.Version != archiveVersion {
		return fmt.Errorf("the file is of version %d, this Toolgate knows %d", a.Header.Version, archiveVersion)
	}
	for number := 2; ; number++ {
		text, err := a.line()
		if err != nil {
			return errors.Join(a.flush(), err)
		}
		var l line
		if json.Unmarshal(text, &l) != nil || !l.End && (len(l.Key) == 0 || bytes.Compare(l.Key, a.Last) <= 0) {
			return fmt.Errorf("%w (line %d)", ErrChanged, number)
		}
		if l.End {
			return errors.Join(a.flush(), a.check(l.end))
		}
		// What no store takes is found here, and not when half of the file is written.
		if err := l.unpacked().Check(); err != nil {
			return fmt.Errorf("line %d cannot be stored: %w", number, err)
		}
		if err := a.add(l.Record); err != nil {
			return err
		}
		a.Length += int64(len(text))
	}
}

// line reads a whole line; the header's length counts at once.
func (a *archiveReader) line() ([]byte, error) {
	var text []byte
	for {
		part, err := a.in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case err == nil:
			if a.Length == 0 {
				a.Length = int64(len(text))
			}
			return text, nil
		case errors.Is(err, io.EOF):
			return nil, ErrCut
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(text) > maxLine:
			return nil, ErrChanged
		}
	}
}

func (a *archiveReader) add(r Record) error {
	a.digest.Add(r)
	a.Last = r.Key
	if id := r.SealedBy(); id != "" {
		a.Keys[id]++
	}
	if a.batch = append(a.batch, r); len(a.batch) < DefaultLimit {
		return nil
	}
	return a.flush()
}

func (a *archiveReader) flush() error {
	if a.visit == nil || len(a.batch) == 0 {
		a.batch = a.batch[:0]
		return nil
	}
	err := a.visit(a.batch)
	a.batch = a.batch[:0]
	return err
}

func (a *archiveReader) check(e end) error {
	if e.Count != a.digest.Count || e.Digest != a.digest.String() || !maps.Equal(e.Keys, a.Keys) {
		return ErrChanged
	}
	if _, err := a.in.ReadByte(); !errors.Is(err, io.EOF) {
		return ErrChanged
	}
	a.Whole = true
	return nil
}

// ArchiveWriter writes an archive.
type ArchiveWriter struct {
	out    *bufio.Writer
	digest *Digest
	keys   map[string]int
}

// NewArchive begins an archive of a store.
func NewArchive(out io.Writer, store string, made time.Time, keys []string) (*ArchiveWriter, error) {
	w := &ArchiveWriter{out: bufio.NewWriter(out), digest: NewDigest(), keys: map[string]int{}}
	return w, w.write(Header{archiveKind, archiveVersion, store, made.UTC().Truncate(time.Second), slices.Clone(keys)})
}

// ResumeArchive goes on at the end of what was read so far; digest is that of what
// was read. Whether that is still what the store has, the caller has to know.
func ResumeArchive(out io.Writer, digest *Digest, keys map[string]int) *ArchiveWriter {
	return &ArchiveWriter{bufio.NewWriter(out), digest, keys}
}

// Add writes records, which have to come in the order of their names.
func (w *ArchiveWriter) Add(records []Record) error {
	for _, r := range records {
		w.digest.Add(r)
		if id := r.SealedBy(); id != "" {
			w.keys[id]++
		}
		if err := w.write(r); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

// End writes the end.
func (w *ArchiveWriter) End() (count int, digest string, err error) {
	count, digest = w.digest.Count, w.digest.String()
	err = w.write(end{true, count, w.keys, digest})
	return count, digest, errors.Join(err, w.out.Flush())
}

func (w *ArchiveWriter) write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.out.Write(append(text, '\n'))
	return err
}
