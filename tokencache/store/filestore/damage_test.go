// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/storetest"
)

func TestRecordOfALaterVersionIsNeverAbsent(t *testing.T) {
	s := storeWithRaw(t, "k", append([]byte{2}, "whatever comes after 1"...))
	_, get := s.Get(t.Context(), "k")
	for call, err := range map[string]error{
		"Get":    get,
		"Put":    s.Put(t.Context(), store.Record{Key: "k", Version: 1}),
		"Delete": s.Delete(t.Context(), "k", 1),
	} {
		var later *FormatError
		if !errors.As(err, &later) || later.Format != 2 || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, want a FormatError", call, err)
		}
	}
	mustPut(t, s, store.Record{Key: "another", Version: 1})
}

func TestRecordWithAFlippedBitIsDamagedAndNotAbsent(t *testing.T) {
	whole := encode(store.Record{Key: "k", Version: 7, Value: []byte("value"), Index: []string{"term"}, Expires: time.Unix(1, 0)})
	for i := range whole {
		raw := bytes.Clone(whole)
		raw[i] ^= 0x10
		if _, err := decode("k", raw); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("byte %d: %v", i, err)
		}
		if _, err := decode("k", whole[:i]); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := decode("K", whole); !errors.Is(err, store.ErrUnavailable) {
		t.Error("it opens under another key")
	}
	if _, err := decode("k", whole); err != nil {
		t.Error(err)
	}
}

func TestADamagedRecordIsInNobodyElsesWay(t *testing.T) {
	for name, spoil := range map[string]func(raw []byte){
		"a bit flipped":              func(raw []byte) { raw[len(raw)-1] ^= 1 },
		"written by a later version": func(raw []byte) { raw[0] = format + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			open := func(t *testing.T, now func() time.Time) store.Store {
				return New(Config{Path: newPath(t), Now: now})
			}
			storetest.RunDamaged(t, open, func(t *testing.T, s store.Store, key string) {
				err := s.(*Store).write(t.Context(), func(tables tables) error {
					raw := bytes.Clone(tables.records().Get([]byte(key)))
					spoil(raw)
					return tables.records().Put([]byte(key), raw)
				})
				if err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestSweepGoesPastWhatItCannotRead(t *testing.T) {
	s := storeWithRaw(t, "later", []byte{2})
	err := s.write(t.Context(), func(t tables) error {
		return t.expiry().Put(expiryKey(store.Record{Key: "later", Expires: time.Unix(1, 0)}), nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, store.Record{Key: "past", Version: 1, Expires: time.Unix(2, 0)})
	if n, err := s.Sweep(t.Context(), 1); n != 1 || err != nil {
		t.Fatalf("Sweep = %d, %v; want the one that it can read", n, err)
	}
}

func TestScanNamesWhatItCannotReadAndGoesOn(t *testing.T) {
	s := storeWithRaw(t, "b", []byte{2})
	for _, key := range []string{"a", "c"} {
		mustPut(t, s, store.Record{Key: key, Version: 1})
	}
	found, err := s.Scan(t.Context(), "", 10)
	var unreadable *store.UnreadableError
	var later *FormatError
	if len(found) != 1 || !errors.As(err, &unreadable) || unreadable.Key != "b" || !errors.As(err, &later) {
		t.Fatalf("Scan = %v, %v", found, err)
	}
	if found, err := s.Scan(t.Context(), "b", 10); len(found) != 1 || found[0].Key != "c" || err != nil {
		t.Fatalf("after it: %v, %v", found, err)
	}
}

// Whatever is done to the file behind our back, calls end, nothing panics, and
// every error means "unavailable". What survives reads as it was written.
func TestDamagedFileNeverPanicsAndNeverLies(t *testing.T) {
	whole := filledFile(t)
	random := rand.New(rand.NewPCG(1, 2))
	damages := map[string]func([]byte) []byte{
		"cut in half":      func(b []byte) []byte { return b[:len(b)/2] },
		"cut to two pages": func(b []byte) []byte { return b[:8192] },
		"cut to a bit":     func(b []byte) []byte { return b[:100] },
	}
	for page := range min(len(whole)/4096, 24) {
		at := page * 4096
		damages[fmt.Sprintf("page %d of zeros", page)] = func(b []byte) []byte { clear(b[at : at+4096]); return b }
		damages[fmt.Sprintf("page %d of noise", page)] = func(b []byte) []byte {
			for i := at; i < at+4096; i++ {
				b[i] = byte(random.Uint32())
			}
			return b
		}
		damages[fmt.Sprintf("page %d with noise after its header", page)] = func(b []byte) []byte {
			for i := at + 16; i < at+64; i++ {
				b[i] = byte(random.Uint32())
			}
			return b
		}
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			if err := os.WriteFile(path, damage(bytes.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			useDamaged(t, path)
		})
	}
}

func TestFileThatIsCutWhileOpenDoesNotEndTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, filledFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, path)
	if err := os.Truncate(path, 8192); err != nil {
		t.Skip("this system does not cut files that are mapped:", err)
	}
	_, err := s.Get(t.Context(), "key/050")
	wantPlain(t, err, path)
	wantPlain(t, s.Put(t.Context(), store.Record{Key: "new", Version: 1}), path)
}

// useDamaged calls every method, which must end and must not lie.
func useDamaged(t *testing.T, path string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := New(Config{Path: path, Now: func() time.Time { return time.Unix(5000, 0) }})
	defer s.Close()
	for i := range filled {
		r, err := s.Get(ctx, key(i))
		if err == nil && !bytes.Equal(r.Value, value(i)) {
			t.Errorf("%s reads %.20q", key(i), r.Value)
		}
		honest(t, err)
		honest(t, s.Put(ctx, store.Record{Key: key(i), Version: 2, Value: value(i)}))
	}
	for range 3 {
		_, err := s.List(ctx, "term", "", 1000)
		honest(t, err)
		_, err = s.Sweep(ctx, 10)
		honest(t, err)
		_, err = s.Lease(ctx, "l", time.Minute)
		honest(t, err)
		honest(t, s.Delete(ctx, key(3), 1))
	}
}

// A page that lost its entries without looking odd can make a record absent:
// bbolt has no sums over its pages. So "not found" passes here.
func honest(t *testing.T, err error) {
	t.Helper()
	if err != nil && !refusal(err) && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrHeld) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

const filled = 100

func key(i int) string   { return fmt.Sprintf("key/%03d", i) }
func value(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 300+i) }

// filledFile returns the bytes of a store with some records in it.
func filledFile(t *testing.T) []byte {
	path := newPath(t)
	s := openStore(t, path)
	for i := range filled {
		r := store.Record{Key: key(i), Version: 1, Value: value(i), Index: []string{"term"}}
		if i%4 == 0 {
			r.Expires = time.Unix(4000, 0)
		}
		mustPut(t, s, r)
	}
	s.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// storeWithRaw returns a store in which raw stands under the key.
func storeWithRaw(t *testing.T, key string, raw []byte) *Store {
	s := openStore(t, newPath(t))
	err := s.write(t.Context(), func(t tables) error { return t.records().Put([]byte(key), raw) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkPages fails if bbolt finds the file inconsistent.
func checkPages(t *testing.T, s *Store) {
	t.Helper()
	err := s.file.db.View(func(tx *bbolt.Tx) (all error) {
		for err := range tx.Check() {
			all = errors.Join(all, err)
		}
		return all
	})
	if err != nil {
		t.Fatalf("the file is inconsistent: %v", err)
	}
}
