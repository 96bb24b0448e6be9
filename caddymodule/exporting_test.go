// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// exportOnce gives the name of an export, what is in it, and its digest; the file itself
// is gone.
func exportOnce(t *testing.T, w *world, s *server) (file, text, digest string) {
	t.Helper()
	file = filepath.Join(w.dir, "all.jsonl")
	out := s.succeeds(t, "sha256:", "store", "export", file)
	read, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	return file, string(read), out[strings.Index(out, "sha256:"):]
}

// cutOff is an export without its end.
func cutOff(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[:len(lines)-2], "")
}

func TestAnExportGoesOnWhereItWasCutOff(t *testing.T) {
	w, s := stopped(t)
	file, text, digest := exportOnce(t, w, s)
	header := strings.Index(text, "\n") + 1
	for size, goesOn := range map[int]bool{0: false, 10: false, header + 10: false, len(cutOff(text)): true, len(text) - 10: true} {
		writeFile(t, file+".part", text[:size])
		out := s.succeeds(t, digest, "store", "export", file)
		if strings.Contains(out, "going on after") != goesOn {
			t.Errorf("after %d bytes of %d:\n%s", size, len(text), out)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnExportThatWasCutOffBringsNoSpentTokenBack(t *testing.T) {
	w, s := stopped(t)
	file, text, _ := exportOnce(t, w, s)
	writeFile(t, file+".part", cutOff(text))
	w.inStore(t, func(st store.Store, ring *seal.Ring) { // the token is renewed
		v := vault.New(st, ring)
		c, err := v.Load(t.Context(), aliceAtAcme())
		if err != nil {
			t.Fatal(err)
		}
		c.RefreshToken = secret.New("the-new-one")
		if _, err := v.Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	})
	s.succeeds(t, "anew: what is in it has changed since", "store", "export", file)
	s.succeeds(t, "there already", "store", "import", file) // byte for byte
}

func TestAnExportDoesNotGoOnInAFileThatIsOldOrAnotherStores(t *testing.T) {
	w, s := stopped(t)
	file, text, digest := exportOnce(t, w, s)
	part := cutOff(text)
	id := between(t, part, `"store":"`, `"`)
	made := between(t, part, `"made":"`, `"`)
	staging := `{"key":"` + base64.StdEncoding.EncodeToString([]byte("connection/default/aaron/acme/")) + `","value":"AQID"}` + "\n"
	header := strings.Index(part, "\n") + 1
	for _, c := range []struct{ part, why string }{
		{strings.Replace(part, id, strings.Repeat("0", len(id)), 1), "it is of another store"},
		{strings.Replace(part, `"store":"`+id+`",`, "", 1), "it is of another store"}, // as earlier versions wrote it
		{strings.Replace(part, made, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), 1), "it was not begun within the last 15 minutes"},
		{strings.Replace(part, made, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), 1), "it was not begun within the last 15 minutes"},
		{part[:header] + staging, "what is in it has changed since"},
	} {
		writeFile(t, file+".part", c.part)
		if out := s.succeeds(t, digest, "store", "export", file); !strings.Contains(out, "anew: "+c.why) {
			t.Errorf("want %q:\n%s", c.why, out)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnExportAndACopyThatAreNotWholeFail(t *testing.T) {
	w, s := stopped(t)
	file, _, _ := exportOnce(t, w, s)
	w.spoil(t, "connection/default/alice/acme/")
	s.fails(t, "1 record could not be read and left out", "store", "export", file)
	s.fails(t, "1 record could not be read and left out", "store", "copy", "--to", "file "+filepath.Join(w.dir, "two.db"))
	for _, part := range []string{file, filepath.Join(w.dir, "two.db")} {
		if info, err := os.Stat(part); err != nil || info.Size() == 0 {
			t.Errorf("what could be read is not in %s: %v", part, err)
		}
	}
	s.fails(t, "connection/default/alice/acme/", "store", "export", "--force", file)

	// The record was left out in the half that was written before.
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file+".part", cutOff(string(whole)))
	if out, err := s.command(t, "store", "export", "--force", file); err == nil || !strings.Contains(out, "going on after") || !strings.Contains(out, "1 record could not be read") {
		t.Errorf("%v\n%s", err, out)
	}
}

// spoil flips a bit of a record that the store keeps.
func (w *world) spoil(t *testing.T, name string) {
	t.Helper()
	db, err := bbolt.Open(w.storePath(), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		raw := bytes.Clone(tx.Bucket([]byte("records")).Get([]byte(name)))
		raw[len(raw)-1] ^= 1
		return tx.Bucket([]byte("records")).Put([]byte(name), raw)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, from)
	found, _, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatalf("there is no %s", from)
	}
	return found
}
