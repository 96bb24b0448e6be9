// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolgate/toolgate/audit"
)

var noon = time.Date(2026, 11, 20, 13, 0, 0, 0, time.FixedZone("CET", 3600))

func TestALineIsOneRecord(t *testing.T) {
	var out bytes.Buffer
	w := audit.NewWriter(&out)
	if err := w.Record(audit.Record{Time: noon, Event: audit.Call, RequestID: "r1", Tenant: "acme", User: "ada\n{\"user\":\"bob\"}", Toolkit: "github", Path: "/a"}); err != nil {
		t.Fatal(err)
	}
	const want = `{"time":"2026-11-20T12:00:00Z","event":"call","request_id":"r1","tenant":"acme","user":"ada\n{\"user\":\"bob\"}","toolkit":"github","path":"/a"}` + "\n"
	if out.String() != want {
		t.Errorf("wrote %s", out.String())
	}
}

func TestManyWritersDoNotMixTheirLines(t *testing.T) {
	var out bytes.Buffer
	w := audit.NewWriter(&out)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 50 {
				if err := w.Record(audit.Record{Time: noon, User: strings.Repeat("a", 100)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Fatalf("a broken line: %s", line)
		}
	}
	if len(lines) != 400 {
		t.Errorf("%d lines", len(lines))
	}
}

// disk is full after some bytes, until it is not.
type disk struct {
	bytes.Buffer
	room  int
	quiet bool // takes less and says nothing, which io.Writer forbids
}

var errFull = errors.New("no space left")

func (d *disk) Write(p []byte) (int, error) {
	if len(p) <= d.room {
		d.room -= len(p)
		return d.Buffer.Write(p)
	}
	n, _ := d.Buffer.Write(p[:d.room])
	d.room = 0
	if d.quiet {
		return n, nil
	}
	return n, errFull
}

func TestAFullDiskIsAnErrorAndSpoilsOneLineOnly(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		for _, room := range []int{0, 1, 50} {
			d := &disk{room: room, quiet: quiet}
			w := audit.NewWriter(d)
			for range 2 {
				if err := w.Record(audit.Record{Time: noon, User: "lost"}); err == nil {
					t.Fatal("a line is lost and nobody knows")
				}
			}
			d.room = 1 << 20
			for range 2 {
				if err := w.Record(audit.Record{Time: noon, User: "kept"}); err != nil {
					t.Fatal(err)
				}
			}
			kept := 0
			for line := range strings.Lines(d.String()) {
				if json.Valid([]byte(line)) && strings.Contains(line, "kept") {
					kept++
				}
			}
			if kept != 2 {
				t.Errorf("with room for %d bytes: %q", room, d.String())
			}
		}
	}
}
