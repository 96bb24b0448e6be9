// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/store/memstore"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// exported is the archive of a store, and its digest.
func exported(t testing.TB, s store.Store) ([]byte, string) {
	t.Helper()
	var file bytes.Buffer
	w, err := custody.NewArchive(&file, "store", time.Unix(0, 0), []string{"id"})
	if err != nil {
		t.Fatal(err)
	}
	all(t, 4, desk(t, s, nil).Take, func(r custody.Taken) custody.Place { return r.Place }, func(r custody.Taken) {
		if err := w.Add(r.Records); err != nil {
			t.Fatal(err)
		}
	})
	_, digest, err := w.End()
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), digest
}

func imported(t testing.TB, file []byte, d *custody.Desk, force bool) (sum custody.Given) {
	t.Helper()
	_, err := custody.ReadArchive(bytes.NewReader(file), false, func(records []custody.Record) error {
		done, err := d.Give(t.Context(), records, force)
		sum.Add(done)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestAnArchiveBringsEveryRecordToAnotherStore(t *testing.T) {
	from, to := filled(t, 250, ring(t, oldKey)), memstore.New(nil)
	file, digest := exported(t, from)
	if strings.Contains(string(file), "token of") {
		t.Error("the file holds a token in the clear")
	}
	if err := vault.New(to, ring(t, oldKey)).Check(t.Context()); err != nil { // its own canary
		t.Fatal(err)
	}
	if sum := imported(t, file, desk(t, to, nil), false); sum.Created != 252 || sum.Same+sum.Replaced+sum.Past+len(sum.Conflicts) != 0 {
		t.Errorf("%+v", sum)
	}
	if _, there := exported(t, to); there != digest {
		t.Errorf("the other store's digest is %s, not %s", there, digest)
	}
	for i := range 250 {
		wantToken(t, vault.New(to, ring(t, oldKey)), fmt.Sprintf("user%03d", i), fmt.Sprintf("token of user%03d", i))
	}
	found, err := to.List(t.Context(), vault.Name("user", "acme", "user007"), "", 10)
	if err != nil || len(found) != 1 {
		t.Errorf("by its term: %d, %v", len(found), err)
	}
	if sum := imported(t, file, desk(t, to, nil), false); sum.Same != 252 || sum.Created != 0 {
		t.Errorf("once more: %+v", sum)
	}
}

func TestAnotherRecordOfTheSameNameIsNotOverwritten(t *testing.T) {
	from, to := filled(t, 2, ring(t, oldKey)), memstore.New(nil)
	file, _ := exported(t, from)
	v := vault.New(to, ring(t, oldKey))
	save(t, v, "user001")
	mine := get(t, to, nameOf("user001"))
	d := desk(t, to, nil)
	sum := imported(t, file, d, false)
	if !slices.Equal(sum.Conflicts, []string{nameOf("user001")}) || sum.Created != 3 {
		t.Errorf("%+v", sum)
	}
	if r := get(t, to, nameOf("user001")); !bytes.Equal(r.Value, mine.Value) {
		t.Error("it was overwritten")
	}
	if sum := imported(t, file, d, true); sum.Replaced != 1 || sum.Same != 3 {
		t.Errorf("with force: %+v", sum)
	}
	if r := get(t, to, nameOf("user001")); !bytes.Equal(r.Value, get(t, from, nameOf("user001")).Value) || r.Version != 2 {
		t.Error("it was not replaced")
	}
}

func TestComparingChangesNothing(t *testing.T) {
	from, to := filled(t, 3, ring(t, oldKey)), memstore.New(nil)
	save(t, vault.New(to, ring(t, oldKey)), "user001")
	taken, err := desk(t, from, nil).Take(t.Context(), custody.Step{})
	if err != nil {
		t.Fatal(err)
	}
	r := get(t, from, nameOf("user002"))
	r.Version = 1
	if err := to.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	sum, err := desk(t, to, nil).Compare(t.Context(), taken.Records)
	if err != nil || sum.Same != 1 || !slices.Equal(sum.Conflicts, []string{nameOf("user001")}) || len(sum.Absent) != 3 || sum.Created != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestRecordsWhoseTimeHasPassedStayBehind(t *testing.T) {
	from, to := filled(t, 1, ring(t, oldKey)), memstore.New(nil)
	file, _ := exported(t, from)
	tomorrow := custody.New(to, nil, func() time.Time { return time.Now().Add(48 * time.Hour) })
	if sum := imported(t, file, tomorrow, false); sum.Past != 2 || sum.Created != 1 {
		t.Errorf("%+v", sum)
	}
}

func TestAFileThatWasCutOrChangedIsNoticed(t *testing.T) {
	file, _ := exported(t, filled(t, 3, ring(t, oldKey)))
	lines := bytes.SplitAfter(file, []byte("\n"))
	read := func(file []byte) error {
		_, err := custody.ReadArchive(bytes.NewReader(file), false, nil)
		return err
	}
	if err := read(file); err != nil {
		t.Fatal(err)
	}
	for size := range len(file) {
		if err := read(file[:size]); !errors.Is(err, custody.ErrCut) && !errors.Is(err, custody.ErrNotArchive) && !errors.Is(err, custody.ErrChanged) {
			t.Fatalf("cut to %d of %d bytes: %v", size, len(file), err)
		}
	}
	header := len(lines[0])
	for at := header; at < len(file); at++ {
		if at+1 < len(file) && file[at+1] == '=' {
			continue // bits of base64 that say nothing
		}
		changed := bytes.Clone(file)
		changed[at] ^= 1
		if err := read(changed); err == nil {
			t.Errorf("byte %d of %q is seen by nobody", at, lines[bytes.Count(file[:at], []byte("\n"))])
		}
	}
	for name, other := range map[string][]byte{
		"a line less":     slices.Concat(lines[0], lines[2], lines[3], lines[4], lines[5], lines[6]),
		"a line twice":    slices.Concat(lines[0], lines[1], lines[1], lines[2], lines[3], lines[4], lines[5], lines[6]),
		"in other order":  slices.Concat(lines[0], lines[2], lines[1], lines[3], lines[4], lines[5], lines[6]),
		"more at its end": append(bytes.Clone(file), "{}\n"...),
	} {
		if err := read(other); !errors.Is(err, custody.ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := read([]byte("hello\n")); !errors.Is(err, custody.ErrNotArchive) {
		t.Errorf("%v", err)
	}
	if err := read(bytes.Replace(file, []byte(`"version":1`), []byte(`"version":2`), 1)); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("%v", err)
	}
}

func TestAFileWithARecordThatNoStoreTakesIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	long := bytes.Repeat([]byte("k"), store.MaxKey+1)
	for name, bad := range map[string]custody.Record{
		"a key":                {Key: long, Value: []byte("v")},
		"a value":              {Key: []byte("k"), Value: make([]byte, store.MaxValue+1)},
		"a term":               {Key: []byte("k"), Index: [][]byte{[]byte("t"), long}},
		"a term that is empty": {Key: []byte("k"), Index: [][]byte{{}}},
	} {
		var file bytes.Buffer
		w, err := custody.NewArchive(&file, "store", time.Unix(0, 0), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add([]custody.Record{{Key: []byte("a"), Value: []byte("v")}, bad}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.End(); err != nil {
			t.Fatal(err)
		}
		if _, err := custody.ReadArchive(&file, false, nil); !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnArchivesCanaryStaysWhereItIs(t *testing.T) {
	s := filled(t, 1, ring(t, oldKey))
	mine := get(t, s, vault.Canary)
	records := []custody.Record{{Key: []byte(vault.Canary), Value: []byte("another store's")}}
	for _, force := range []bool{false, true} {
		if sum, err := desk(t, s, nil).Give(t.Context(), records, force); err != nil || sum.Created+sum.Replaced+len(sum.Conflicts) != 0 {
			t.Errorf("%+v, %v", sum, err)
		}
	}
	if sum, err := desk(t, s, nil).Compare(t.Context(), records); err != nil || len(sum.Conflicts)+len(sum.Absent) != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	if now := get(t, s, vault.Canary); !bytes.Equal(now.Value, mine.Value) {
		t.Error("it was replaced")
	}
}

func TestAnExportThatWasCutOffGoesOn(t *testing.T) {
	s := filled(t, 40, ring(t, oldKey))
	whole, digest := exported(t, s)
	for _, size := range []int{200, len(whole) / 3, len(whole) / 2, len(whole) - 300} {
		part := bytes.Clone(whole[:size])
		sum, keys := custody.NewDigest(), map[string]int{}
		a, err := custody.ReadArchive(bytes.NewReader(part), true, func(records []custody.Record) error {
			for _, r := range records {
				sum.Add(r)
				keys[r.SealedBy()]++
			}
			return nil
		})
		if err != nil || a.Whole {
			t.Fatalf("%+v, %v", a, err)
		}
		rest := bytes.NewBuffer(part[:a.Length])
		w := custody.ResumeArchive(rest, sum, keys)
		step := custody.Step{After: a.Last, Limit: 7}
		for {
			taken, err := desk(t, s, nil).Take(t.Context(), step)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Add(taken.Records); err != nil {
				t.Fatal(err)
			}
			if step.After = taken.Next; taken.Done {
				break
			}
		}
		if _, d, err := w.End(); err != nil || d != digest || !bytes.Equal(rest.Bytes(), whole) {
			t.Errorf("after %d bytes: another file, %s, %v", size, d, err)
		}
	}
}

func FuzzReadArchive(f *testing.F) {
	file, _ := exported(f, filled(f, 2, ring(f, oldKey)))
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		count := 0
		a, err := custody.ReadArchive(bytes.NewReader(text), false, func(records []custody.Record) error {
			count += len(records)
			return nil
		})
		if err == nil && (a.Count != count || !a.Whole) {
			t.Errorf("%d records, and %d were given", a.Count, count)
		}
	})
}
