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
)

// Numbered is one grant as it stands in a file.
type Numbered struct {
	Number int    // of its line or, in a list, of its element
	Text   []byte // empty where it is longer than any grant
}

// maxGrant is how long one may be.
const maxGrant = 1 << 20

// ErrTooLong: no grant is so long.
var ErrTooLong = errors.New("it has more than a megabyte")

// Split gives the grants of a file one after the other: a JSON object on each line, or
// one JSON list of them. What comes from another program's API may also be objects
// over several lines each.
func Split(format Format, r io.Reader, visit func(Numbered) error) error {
	in := bufio.NewReaderSize(r, maxGrant)
	first, err := peekText(in)
	if err != nil {
		return err
	}
	switch {
	case first == '[':
		return splitList(in, visit)
	case format != JSONLines:
		return splitObjects(json.NewDecoder(in), visit)
	}
	return splitLines(in, visit)
}

func splitLines(in *bufio.Reader, visit func(Numbered) error) error {
	for number := 1; ; number++ {
		text, err := in.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if tooLong {
			text = nil
		}
		if text := bytes.TrimSpace(text); tooLong || len(text) > 0 {
			if visitErr := visit(Numbered{number, bytes.Clone(text)}); visitErr != nil {
				return visitErr
			}
		}
		if err != nil {
			return nil
		}
	}
}

// peekText gives the first byte that is no space.
func peekText(in *bufio.Reader) (byte, error) {
	if mark, err := in.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	for n := 1; ; n++ {
		head, err := in.Peek(n)
		if len(head) < n {
			if errors.Is(err, io.EOF) {
				return 0, nil // nothing in it
			}
			return 0, err
		}
		if c := head[n-1]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, nil
		}
	}
}

func splitList(in io.Reader, visit func(Numbered) error) error {
	errNoList := errors.New("it begins like a JSON list, and is none")
	d := json.NewDecoder(in)
	if _, err := d.Token(); err != nil {
		return errNoList
	}
	if err := splitObjects(d, visit); err != nil {
		return err
	}
	if _, err := d.Token(); err != nil {
		return errNoList
	}
	return nil
}

func splitObjects(d *json.Decoder, visit func(Numbered) error) error {
	for number := 1; d.More(); number++ {
		var text json.RawMessage
		if d.Decode(&text) != nil {
			return fmt.Errorf("the file is no JSON from its connection %d on", number)
		}
		if len(text) > maxGrant {
			text = nil
		}
		if err := visit(Numbered{number, text}); err != nil {
			return err
		}
	}
	return nil
}
