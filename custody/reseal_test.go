// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

func TestAfterResealingTheOldKeyCanGo(t *testing.T) {
	for _, limit := range []int{1, 2, 7, 100} {
		s := filled(t, 20, ring(t, oldKey))
		before := get(t, s, nameOf("user007"))
		d := desk(t, s, ring(t, newKey, oldKey))
		sum := reseal(t, d, limit)
		if sum.Resealed != 22 || sum.Already != 0 || sum.Brief != 1 || len(sum.Missing)+len(sum.Broken)+len(sum.Busy) != 0 {
			t.Errorf("in steps of %d: %+v", limit, sum)
		}
		after := get(t, s, nameOf("user007"))
		if !slices.Equal(after.Index, before.Index) || !after.Expires.Equal(before.Expires) || after.Version != before.Version+1 {
			t.Errorf("the record was %+v and is %+v", before, after)
		}
		v := vault.New(s, ring(t, newKey))
		if err := v.Check(t.Context()); err != nil {
			t.Errorf("without the old key: %v", err)
		}
		for i := range 20 {
			wantToken(t, v, fmt.Sprintf("user%03d", i), fmt.Sprintf("token of user%03d", i))
		}
		if again := reseal(t, d, limit); again.Resealed != 0 || again.Already != 22 {
			t.Errorf("once more: %+v", again)
		}
	}
}

func TestASurveyCountsByKeyAndOpensNothing(t *testing.T) {
	s := filled(t, 5, ring(t, oldKey))
	save(t, vault.New(s, ring(t, newKey)), "later")
	for i, value := range [][]byte{nil, append([]byte{9}, make([]byte, 50)...)} {
		if err := s.Put(t.Context(), store.Record{Key: fmt.Sprint("bad", i), Version: 1, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	sum := survey(t, desk(t, s, ring(t, newKey)))
	old, fresh := ring(t, oldKey).PrimaryID(), ring(t, newKey).PrimaryID()
	if sum.Records[old] != 8 || sum.Records[fresh] != 1 || sum.Canary != old || sum.Primary != fresh || sum.Newer != 1 || sum.Damaged != 1 || sum.Seen != 11 {
		t.Errorf("%+v", sum)
	}
}

func TestWhatCannotBeOpenedIsNamedAndLeftAlone(t *testing.T) {
	s := filled(t, 3, ring(t, oldKey))
	lost := strings.Repeat("00112233", 8)
	save(t, vault.New(s, ring(t, lost)), "lost")
	swapped := get(t, s, nameOf("user001"))
	swapped.Key, swapped.Version = nameOf("eve"), 1
	if err := s.Put(t.Context(), swapped); err != nil {
		t.Fatal(err)
	}
	sum := reseal(t, desk(t, s, ring(t, newKey, oldKey)), 2)
	if sum.Resealed != 5 || sum.Missing[ring(t, lost).PrimaryID()] != 1 || !slices.Equal(sum.Broken, []string{nameOf("eve")}) {
		t.Errorf("%+v", sum)
	}
	for _, name := range []string{nameOf("eve"), nameOf("lost")} {
		if r := get(t, s, name); r.Version != 1 {
			t.Errorf("%s was written", name)
		}
	}
}

// meddling is a store in which somebody writes between our read and our write.
type meddling struct {
	*memstore.Store
	before func(r store.Record)
}

func (m *meddling) Put(ctx context.Context, r store.Record) error {
	m.before(r)
	return m.Store.Put(ctx, r)
}

func TestATokenThatIsRenewedMeanwhileIsNotUndone(t *testing.T) {
	s := filled(t, 3, ring(t, oldKey))
	gateway := vault.New(s, ring(t, oldKey)) // which does not have the new key yet
	once := new(sync.Once)
	m := &meddling{Store: s, before: func(r store.Record) {
		if r.Key != nameOf("user001") {
			return
		}
		once.Do(func() {
			c, err := gateway.Load(t.Context(), of("user001"))
			if err == nil {
				c.AccessToken = secret.New("renewed")
				_, err = gateway.Save(t.Context(), c)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}}
	sum := reseal(t, desk(t, m, ring(t, newKey, oldKey)), 100)
	if sum.Resealed != 5 {
		t.Errorf("%+v", sum)
	}
	v := vault.New(s, ring(t, newKey))
	wantToken(t, v, "user001", "renewed")
	wantToken(t, v, "user002", "token of user002")
}

func TestARecordThatChangesAllTheTimeIsNamed(t *testing.T) {
	s := filled(t, 1, ring(t, oldKey))
	gateway := vault.New(s, ring(t, oldKey))
	m := &meddling{Store: s, before: func(r store.Record) {
		if c, err := gateway.Load(t.Context(), of("user000")); r.Key == nameOf("user000") && err == nil {
			_, _ = gateway.Save(t.Context(), c)
		}
	}}
	if sum := reseal(t, desk(t, m, ring(t, newKey, oldKey)), 100); !slices.Equal(sum.Busy, []string{nameOf("user000")}) {
		t.Errorf("%+v", sum)
	}
}

func TestManyMayResealAtOnceBesideAGateway(t *testing.T) {
	s := filled(t, 30, ring(t, oldKey))
	gateway := vault.New(s, ring(t, newKey, oldKey))
	var everybody sync.WaitGroup
	var mu sync.Mutex
	resealed := 0
	for range 4 {
		everybody.Go(func() {
			sum := reseal(t, desk(t, s, ring(t, newKey, oldKey)), 3)
			mu.Lock()
			defer mu.Unlock()
			resealed += sum.Resealed
		})
	}
	everybody.Go(func() {
		for i := range 30 {
			for {
				c, err := gateway.Load(t.Context(), of(fmt.Sprintf("user%03d", i)))
				if err != nil {
					t.Error(err)
					return
				}
				c.AccessToken = secret.New(fmt.Sprint("renewed ", i))
				if _, err = gateway.Save(t.Context(), c); err == nil {
					break
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
					return
				}
			}
		}
	})
	everybody.Wait()
	if resealed > 32 {
		t.Errorf("%d records were sealed anew, of 32", resealed)
	}
	for i := range 30 {
		wantToken(t, vault.New(s, ring(t, newKey)), fmt.Sprintf("user%03d", i), fmt.Sprint("renewed ", i))
	}
}

func TestRecordsOfALostKeyAreSetAsideAndCanComeBack(t *testing.T) {
	s := filled(t, 5, ring(t, oldKey))
	save(t, vault.New(s, ring(t, newKey)), "later")
	lost := ring(t, oldKey).PrimaryID()
	original := get(t, s, nameOf("user003"))
	d := desk(t, s, ring(t, newKey))
	sum := abandon(t, d, lost)
	if sum.Moved != 8 {
		t.Errorf("%+v", sum)
	}
	v := vault.New(s, ring(t, newKey))
	if _, err := v.Load(t.Context(), of("user003")); !errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("the user is asked to connect: %v", err)
	}
	if err := v.Check(t.Context()); err != nil {
		t.Errorf("the gateway starts: %v", err)
	}
	wantToken(t, v, "later", "token of later")
	if found, err := s.List(t.Context(), original.Index[1], "", 10); len(found) != 0 || err != nil {
		t.Errorf("the user's list has %d, %v", len(found), err)
	}
	if survey := survey(t, d); survey.Aside[lost] != 8 || survey.Records[lost] != 0 {
		t.Errorf("%+v", survey)
	}
	if again := abandon(t, d, lost); again.Moved != 0 {
		t.Errorf("once more: %+v", again)
	}

	// The key turns up. Meanwhile one user has connected again.
	save(t, v, "user001")
	fresh := get(t, s, nameOf("user001"))
	found := desk(t, s, ring(t, newKey, oldKey))
	var back custody.Moved
	all(t, 3, func(ctx context.Context, step custody.Step) (custody.Moved, error) {
		return found.Restore(ctx, lost, step)
	},
		func(m custody.Moved) custody.Place { return m.Place }, func(m custody.Moved) { back.Add(m) })
	if back.Moved != 6 || !slices.Equal(back.Taken, []string{nameOf("user001")}) {
		t.Errorf("%+v", back)
	}
	if r := get(t, s, nameOf("user003")); string(r.Value) != string(original.Value) || !slices.Equal(r.Index, original.Index) {
		t.Error("it did not come back as it was")
	}
	if r := get(t, s, nameOf("user001")); string(r.Value) != string(fresh.Value) {
		t.Error("the new connection was lost")
	}
}

func abandon(t *testing.T, d *custody.Desk, id string) (sum custody.Moved) {
	t.Helper()
	all(t, 2, func(ctx context.Context, step custody.Step) (custody.Moved, error) { return d.Abandon(ctx, id, step) },
		func(m custody.Moved) custody.Place { return m.Place }, func(m custody.Moved) { sum.Add(m) })
	return sum
}

func TestDamagedRecordsAreSetAsideAndNoOthers(t *testing.T) {
	s := filled(t, 6, ring(t, oldKey))
	for i, change := range []func(value []byte) []byte{
		func(value []byte) []byte { return value[:10] },
		func(value []byte) []byte { value[len(value)-1] ^= 1; return value },
		func(value []byte) []byte { return get(t, s, nameOf("user005")).Value },
		func(value []byte) []byte { value[0] = 2; return value },  // a later version's
		func(value []byte) []byte { value[1] ^= 1; return value }, // a missing key's
	} {
		r := get(t, s, nameOf(fmt.Sprintf("user%03d", i)))
		r.Value, r.Version = change(r.Value), 2
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	malformed(t, s, "empty")
	if sum := abandon(t, desk(t, s, ring(t, oldKey)), custody.Damaged); sum.Moved != 4 {
		t.Errorf("%+v", sum)
	}
	v := vault.New(s, ring(t, oldKey))
	for i := range 5 {
		_, err := v.Load(t.Context(), of(fmt.Sprintf("user%03d", i)))
		if gone := errors.Is(err, connection.ErrNotConnected); gone != (i < 3) {
			t.Errorf("user%03d: %v", i, err)
		}
	}
	if _, err := v.Load(t.Context(), of("empty")); !errors.Is(err, connection.ErrNotConnected) {
		t.Errorf("what opens and is empty: %v", err)
	}
	wantToken(t, v, "user005", "token of user005")
}

// A gateway whose canary has gone takes its store for one that has lost everything.
func TestAStoreWhoseCanaryWasSetAsideHasAnotherOneAtOnce(t *testing.T) {
	for writes := range 4 { // of which the first two are the canary's way aside
		s := filled(t, 1, ring(t, oldKey))
		_, _ = desk(t, &failing{s, writes}, ring(t, newKey)).Abandon(t.Context(), ring(t, oldKey).PrimaryID(), custody.Step{Limit: 1})
		abandon(t, desk(t, s, ring(t, newKey)), ring(t, oldKey).PrimaryID())
		if id, err := seal.SealedBy(get(t, s, vault.Canary).Value); err != nil || id != ring(t, newKey).PrimaryID() {
			t.Errorf("cut off after %d writes: it is sealed by %s, %v", writes, id, err)
		}
	}
}

func TestAKeyThatIsThereIsNotAbandoned(t *testing.T) {
	s := filled(t, 1, ring(t, oldKey))
	_, err := desk(t, s, ring(t, newKey, oldKey)).Abandon(t.Context(), ring(t, oldKey).PrimaryID(), custody.Step{})
	if !errors.Is(err, custody.ErrKeyPresent) {
		t.Errorf("%v", err)
	}
	_, err = desk(t, s, ring(t, newKey)).Restore(t.Context(), ring(t, oldKey).PrimaryID(), custody.Step{})
	if !errors.Is(err, custody.ErrKeyAbsent) {
		t.Errorf("%v", err)
	}
}

// failing ends after so many writes, as a process does that is killed.
type failing struct {
	*memstore.Store
	left int
}

var errKilled = errors.New("killed")

func (f *failing) Put(ctx context.Context, r store.Record) error {
	if f.left--; f.left < 0 {
		return errKilled
	}
	return f.Store.Put(ctx, r)
}

func (f *failing) Delete(ctx context.Context, key string, version uint64) error {
	if f.left--; f.left < 0 {
		return errKilled
	}
	return f.Store.Delete(ctx, key, version)
}

func TestWhatIsCutOffAnywhereIsJustBegunAgain(t *testing.T) {
	for writes := range 10 {
		s := filled(t, 3, ring(t, oldKey))
		lost := ring(t, oldKey).PrimaryID()
		if _, err := desk(t, &failing{s, writes}, ring(t, newKey)).Abandon(t.Context(), lost, custody.Step{}); !errors.Is(err, errKilled) {
			t.Fatalf("after %d writes: %v", writes, err)
		}
		d := desk(t, s, ring(t, newKey))
		abandon(t, d, lost)
		if sum := survey(t, d); sum.Aside[lost] != 6 || sum.Records[lost] != 0 {
			t.Errorf("cut off after %d writes: %+v", writes, sum)
		}
	}
}

func TestADamagedRecordDoesNotEndTheWork(t *testing.T) {
	s := &unreadable{filled(t, 9, ring(t, oldKey)), nameOf("user004")}
	sum := reseal(t, desk(t, s, ring(t, newKey, oldKey)), 2)
	if sum.Resealed != 10 || !slices.Equal(sum.Unreadable, []string{nameOf("user004")}) {
		t.Errorf("%+v", sum)
	}
}

func TestADamagedRecordInTheOtherStoreDoesNotEndACopy(t *testing.T) {
	from, to := filled(t, 4, ring(t, oldKey)), &unreadable{memstore.New(nil), nameOf("user002")}
	taken, err := desk(t, from, nil).Take(t.Context(), custody.Step{})
	if err != nil {
		t.Fatal(err)
	}
	for _, force := range []bool{false, true} {
		sum, err := desk(t, to, nil).Give(t.Context(), taken.Records, force)
		if err != nil || sum.Created+sum.Same != len(taken.Records)-1 || !slices.Equal(sum.Conflicts, []string{nameOf("user002")}) {
			t.Errorf("%+v, %v", sum, err)
		}
	}
	sum, err := desk(t, to, nil).Compare(t.Context(), taken.Records)
	if err != nil || sum.Same != len(taken.Records)-1 || !slices.Equal(sum.Conflicts, []string{nameOf("user002")}) {
		t.Errorf("%+v, %v", sum, err)
	}
}

// unreadable is a store of which one record cannot be read.
type unreadable struct {
	*memstore.Store
	key string
}

func (u *unreadable) Get(ctx context.Context, key string) (store.Record, error) {
	if key == u.key {
		return store.Record{}, fmt.Errorf("%w: %w", store.ErrUnavailable, store.ErrDamaged)
	}
	return u.Store.Get(ctx, key)
}

func (u *unreadable) Scan(ctx context.Context, after string, limit int) ([]store.Record, error) {
	found, err := u.Store.Scan(ctx, after, limit)
	for i, r := range found {
		if r.Key == u.key {
			return found[:i], &store.UnreadableError{Key: u.key, Err: store.ErrUnavailable}
		}
	}
	return found, err
}

func TestAStoreThatCannotScanSaysSo(t *testing.T) {
	d := desk(t, struct{ store.Store }{memstore.New(nil)}, ring(t, oldKey))
	if _, err := d.Take(t.Context(), custody.Step{}); !errors.Is(err, custody.ErrCannotScan) {
		t.Errorf("%v", err)
	}
	r := custody.Record{Key: []byte("k"), Value: []byte("v")}
	if sum, err := d.Give(t.Context(), []custody.Record{r}, false); err != nil || sum.Created != 1 {
		t.Errorf("but it takes records: %+v, %v", sum, err)
	}
}
