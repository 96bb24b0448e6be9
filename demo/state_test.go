// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// onDisk is a world whose state is kept in the file at path.
func onDisk(t *testing.T) (w *world, path string) {
	path = filepath.Join(t.TempDir(), "acme.json")
	return newWorld(t, func(c *Config) { c.StatePath = path }), path
}

func TestTokensOutliveARestart(t *testing.T) {
	w, _ := onDisk(t)
	first := w.tokensFor("alice")
	w.restart()
	if !w.works(first.AccessToken) {
		t.Error("the access token was forgotten")
	}
	second := w.tokensIn(w.refreshWith(first.RefreshToken))
	w.restart()
	third := w.tokensIn(w.refreshWith(second.RefreshToken))
	w.restart()
	wantError(t, w.refreshWith(first.RefreshToken), http.StatusBadRequest, "invalid_grant")
	if w.works(third.AccessToken) || w.Stats().ReuseDetections != 1 {
		t.Error("a reuse was not recognised after the restart")
	}
	w.restart()
	if w.works(third.AccessToken) {
		t.Error("the end of the family was forgotten")
	}
}

func TestARevocationOutlivesARestart(t *testing.T) {
	for name, revoke := range map[string]func(*world, tokens){
		"by the client": func(w *world, got tokens) { w.post("/revoke", "token", got.RefreshToken) },
		"by a test":     func(w *world, _ tokens) { w.RevokeUser("alice") },
	} {
		w, _ := onDisk(t)
		got := w.tokensFor("alice")
		revoke(w, got)
		w.restart()
		if w.works(got.AccessToken) || w.refreshWith(got.RefreshToken).Code == http.StatusOK {
			t.Errorf("%s: the grant is back", name)
		}
	}
}

func TestTheStateFileHoldsHashesOnlyAndIsForTheOwnerAlone(t *testing.T) {
	w, path := onDisk(t)
	got := w.tokensFor("alice")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	handle := handleOf(refreshPrefix, got.RefreshToken)
	for _, secret := range []string{got.AccessToken, got.RefreshToken, got.AccessToken[20:], got.RefreshToken[40:], base64.RawURLEncoding.EncodeToString(handle)[:20], clientSecret} {
		if strings.Contains(string(text), secret) {
			t.Error("the file holds a secret")
		}
	}
	info, err := os.Stat(path)
	if err != nil || (runtime.GOOS != "windows" && info.Mode().Perm() != 0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestWhatCannotBeSavedDoesNotHappen(t *testing.T) {
	w, path := onDisk(t)
	code, got := w.codeFor("bob"), w.tokensFor("alice")
	dir := filepath.Dir(path)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	wantError(t, w.refreshWith(got.RefreshToken), http.StatusServiceUnavailable, "temporarily_unavailable")
	wantError(t, w.redeemCode(code), http.StatusServiceUnavailable, "temporarily_unavailable")
	wantError(t, w.post("/revoke", "token", got.RefreshToken), http.StatusServiceUnavailable, "temporarily_unavailable")
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	w.tokensIn(w.refreshWith(got.RefreshToken))
	w.tokensIn(w.redeemCode(code))
	if s := w.Stats(); s.Refreshes != 1 || s.ReuseDetections != 0 || s.Revocations != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAStateFileThatCannotBeReadStopsTheStart(t *testing.T) {
	w, path := onDisk(t)
	for _, text := range []string{"", "{", `{"version":2}`, `[]`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(w.cfg); err == nil {
			t.Errorf("%q was read", text)
		}
		if left, _ := os.ReadFile(path); string(left) != text {
			t.Errorf("%q was overwritten", text)
		}
	}
}

func TestGrantsOfAnotherClientAreDropped(t *testing.T) {
	w, _ := onDisk(t)
	got := w.tokensFor("alice")
	w.cfg.ClientID = "another"
	w.restart()
	if w.works(got.AccessToken) {
		t.Error("the token works for another client")
	}
}

func TestNothingPilesUp(t *testing.T) {
	w, path := onDisk(t)
	got := w.tokensFor("alice")
	for range 50 {
		got = w.tokensIn(w.refreshWith(got.RefreshToken))
	}
	for _, g := range w.grants {
		if len(g.Access) > maxAccess {
			t.Errorf("%d access tokens of one grant", len(g.Access))
		}
	}
	for range 20 {
		w.tokensFor("bob", "scope=read")
	}
	w.pass(100 * 24 * time.Hour)
	w.tokensFor("alice", "scope=read")
	if len(w.grants) != 1 || len(w.codes) != 1 || len(w.sessions) != 1 {
		t.Errorf("%d grants, %d codes, %d sessions are left", len(w.grants), len(w.codes), len(w.sessions))
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 1000 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
}

func TestPruneDropsWhatEndedAndThenTheOldest(t *testing.T) {
	now := time.Unix(1000, 0)
	m := map[string]time.Time{"ended": now}
	for i := range 10 {
		m[fmt.Sprint(i)] = now.Add(time.Duration(i+1) * time.Second)
	}
	prune(m, 3, now, func(t time.Time) time.Time { return t })
	if len(m) != 3 || m["7"].IsZero() || m["8"].IsZero() || m["9"].IsZero() {
		t.Errorf("left: %v", m)
	}
}
