// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

func TestAStoreThatHasLostItsRecordsConnectsNobodyAnew(t *testing.T) {
	s := &counting{Store: memstore.New(nil)}
	v := vault.New(s, ring(t, oneKey))
	if _, err := v.Load(t.Context(), alice); !errors.Is(err, connection.ErrNotConnected) || s.reads != 1 {
		t.Errorf("before the keys were checked: %v, in %d readings", err, s.reads)
	}
	if err := v.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Save(t.Context(), full()); err != nil {
		t.Fatal(err)
	}
	s.reads = 0
	if _, err := v.Load(t.Context(), alice); err != nil || s.reads != 1 {
		t.Errorf("who is connected: %v, in %d readings", err, s.reads)
	}
	s.reads = 0
	if _, err := v.Load(t.Context(), bob); !errors.Is(err, connection.ErrNotConnected) || s.reads != 2 {
		t.Errorf("who is not connected: %v, in %d readings", err, s.reads)
	}

	s.Store = memstore.New(nil)
	for range 2 {
		_, err := v.Load(t.Context(), alice)
		if !errors.Is(err, vault.ErrLost) || !errors.Is(err, store.ErrUnavailable) || errors.Is(err, connection.ErrNotConnected) {
			t.Fatalf("with everything gone: %v", err)
		}
		if p, ok := errors.AsType[*problem.Problem](vault.Problem(err)); !ok || p.HTTPStatus() != 503 || p.Rule != "store_lost" || p.RetryAfter != time.Minute {
			t.Errorf("the answer: %+v", p)
		}
	}
	if err := v.Check(t.Context()); err != nil { // as a restart and a reload do
		t.Fatal(err)
	}
	if _, err := v.Load(t.Context(), alice); !errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("after the operator has begun anew: %v", err)
	}
}

// counting counts how often a record is read.
type counting struct {
	store.Store
	reads int
}

func (c *counting) Get(ctx context.Context, key string) (store.Record, error) {
	c.reads++
	return c.Store.Get(ctx, key)
}
