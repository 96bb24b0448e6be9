// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package memstore_test

import (
	"testing"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/store/storetest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, now func() time.Time) store.Store { return memstore.New(now) })
}

func TestWithoutAClockItGoesByTheRealOne(t *testing.T) {
	s := memstore.New(nil)
	past := store.Record{Key: "k", Version: 1, Expires: time.Now().Add(-time.Hour)}
	if err := s.Put(t.Context(), past); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("Sweep = %d, %v; want the record whose time has passed", n, err)
	}
}
