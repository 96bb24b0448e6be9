// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/toolgate/toolgate/tokencache/store"
)

// The records are as large as a sealed connection, and as many as a busy team has.
const benchRecords = 5000

func BenchmarkGet(b *testing.B) {
	s := benchStore(b)
	for i := 0; b.Loop(); i++ {
		if _, err := s.Get(b.Context(), benchKey(i%benchRecords)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	s := benchStore(b)
	for i := 0; b.Loop(); i++ {
		mustPut(b, s, benchRecord(benchRecords+i))
	}
}

func BenchmarkPutParallel16(b *testing.B) {
	s := benchStore(b)
	b.SetParallelism(max(1, 16/runtime.GOMAXPROCS(0)))
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mustPut(b, s, benchRecord(benchRecords+int(next.Add(1))))
		}
	})
}

func BenchmarkList20(b *testing.B) {
	s := benchStore(b)
	for i := 0; b.Loop(); i++ {
		found, err := s.List(b.Context(), benchTerm(i%benchRecords), "", 100)
		if err != nil || len(found) != 20 {
			b.Fatal(len(found), err)
		}
	}
}

func benchKey(i int) string  { return fmt.Sprintf("conn/acme/user-%05d/github", i) }
func benchTerm(i int) string { return fmt.Sprintf("user/acme/team-%05d", i/20) }

func benchRecord(i int) store.Record {
	return store.Record{Key: benchKey(i), Version: 1, Value: make([]byte, 700), Index: []string{benchTerm(i)}}
}

func benchStore(b *testing.B) *Store {
	b.Helper()
	s := openStore(b, newPath(b))
	err := s.write(b.Context(), func(t tables) error {
		for i := range benchRecords {
			if err := t.put(benchRecord(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}
