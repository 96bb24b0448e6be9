// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"testing"

	"github.com/toolgate/toolgate/tokencache/store"
)

func TestAScanThatWasCutOffIsForgotten(t *testing.T) {
	s, _ := indexed(t)
	for _, key := range []string{"a", "b", "c"} {
		mustPut(t, s, store.Record{Key: key, Version: 1})
	}
	if page, err := s.Scan(t.Context(), "", 1); err != nil || len(page) != 1 {
		t.Fatalf("%v, %v", page, err)
	}
	sweep(t, s)
	if len(s.scan.keys) != 3 {
		t.Error("a scan that may go on was forgotten")
	}
	s.scan.at = s.scan.at.Add(-2 * scanAge)
	sweep(t, s)
	if len(s.scan.keys) != 0 {
		t.Errorf("%d keys stay in memory", len(s.scan.keys))
	}
	if page, err := s.Scan(t.Context(), "a", 10); err != nil || len(page) != 2 {
		t.Errorf("and when it goes on all the same: %v, %v", page, err)
	}
}
