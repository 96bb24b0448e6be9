// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/redistest"
)

// The same work as the file store's benchmarks: records of a sealed connection's
// size, 20 under each term. On a real server, or on miniredis where there is none.
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
	b.ResetTimer() // the records that are there already are no part of it
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
	addr := ""
	if _, err := exec.LookPath("redis-server"); err == nil {
		addr = redistest.Start(b).Addr
	} else {
		addr = miniredis.RunT(b).Addr()
	}
	s := opened(b, Config{Addresses: []string{addr}})
	for i := range benchRecords {
		mustPut(b, s, benchRecord(i))
	}
	return s
}
