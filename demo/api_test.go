// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheAPIRefusesWhoHasNoTokenThatWorks(t *testing.T) {
	w := newWorld(t)
	got := w.tokensFor("alice")
	expired := w.tokensFor("bob").AccessToken
	w.pass(time.Minute)
	for _, header := range [][]string{
		nil, {""}, {"Bearer"}, {"Bearer "}, {"Bearer wrong"}, {"Basic YTpi"}, {"Bearer " + expired},
		{"Bearer " + got.RefreshToken}, {got.AccessToken}, {"Bearer " + got.AccessToken + "A"},
		{"Bearer " + got.AccessToken, "Bearer " + got.AccessToken},
	} {
		for _, target := range []string{"/v1/me", "/v1/notes/1", "/v1/nowhere", "/v1/ticks?n=x"} {
			r := httptest.NewRequest("GET", target, nil)
			r.Header["Authorization"] = header
			rec := w.do(r)
			wantError(t, rec, http.StatusUnauthorized, "invalid_token")
			if c := rec.Header().Get("WWW-Authenticate"); !strings.HasPrefix(c, `Bearer realm="acme", error="invalid_token", error_description="`) {
				t.Errorf("challenge %q", c)
			}
		}
	}
	if s := w.Stats(); s.APICalls != s.APIRefusals || s.APICalls != 44 {
		t.Errorf("%+v", s)
	}
}

func TestAnAccessTokenWorksUntilItsTimeIsUp(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AccessTTL = 1500 * time.Millisecond })
	got := w.tokensFor("alice")
	if got.ExpiresIn != 2 {
		t.Errorf("expires_in %d", got.ExpiresIn)
	}
	w.pass(1499 * time.Millisecond)
	if !w.works(got.AccessToken) {
		t.Error("it ended early")
	}
	w.pass(time.Millisecond)
	if w.works(got.AccessToken) {
		t.Error("it works on")
	}
}

func TestMeIsThePersonWhoAllowed(t *testing.T) {
	w := newWorld(t)
	for _, user := range people() {
		rec := w.call("GET", "/v1/me", w.tokensFor(user.ID).AccessToken, nil)
		var got person
		decode(t, rec, &got)
		if got != user {
			t.Errorf("got %+v, want %+v", got, user)
		}
	}
}

func TestTheSchemeIsReadInAnyCase(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("GET", "/v1/me", nil)
	r.Header.Set("Authorization", "bearer "+w.tokensFor("alice").AccessToken)
	if rec := w.do(r); rec.Code != http.StatusOK {
		t.Errorf("%d", rec.Code)
	}
}

func TestACallNeedsItsScope(t *testing.T) {
	w := newWorld(t)
	reader, writer := w.tokensFor("alice", "scope=read").AccessToken, w.tokensFor("alice", "scope=write").AccessToken
	rec := w.call("POST", "/v1/notes", reader, strings.NewReader(`{"text":"x"}`))
	wantError(t, rec, http.StatusForbidden, "insufficient_scope")
	if c := rec.Header().Get("WWW-Authenticate"); !strings.Contains(c, `error="insufficient_scope"`) || !strings.Contains(c, `scope="write"`) {
		t.Errorf("challenge %q", c)
	}
	wantError(t, w.call("GET", "/v1/notes", writer, nil), http.StatusForbidden, "insufficient_scope")
	if w.Stats().APIRefusals != 0 {
		t.Error("a 403 counts as a 401")
	}
}

func TestANoteIsKeptForItsUserAlone(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.tokensFor("alice").AccessToken, w.tokensFor("bob").AccessToken
	rec := w.call("POST", "/v1/notes", alice, strings.NewReader(`{"text":"  <b>hi</b>  "}`))
	var made note
	decode(t, rec, &made)
	if rec.Code != http.StatusCreated || made.Text != "<b>hi</b>" || rec.Header().Get("Location") != origin+"/v1/notes/"+made.ID {
		t.Errorf("%d %+v, Location %q", rec.Code, made, rec.Header().Get("Location"))
	}
	var got note
	decode(t, w.call("GET", "/v1/notes/"+made.ID, alice, nil), &got)
	if got != made {
		t.Errorf("got %+v", got)
	}
	wantError(t, w.call("GET", "/v1/notes/"+made.ID, bob, nil), http.StatusNotFound, "not_found")
	if notes := w.notesOf(alice); !slices.Contains(notes, made) || len(notes) != 3 {
		t.Errorf("alice has %+v", notes)
	}
	if notes := w.notesOf(bob); len(notes) != 1 {
		t.Errorf("bob has %+v", notes)
	}
}

func (w *world) notesOf(token string) []note {
	var got struct{ Notes []note }
	decode(w.T, w.call("GET", "/v1/notes", token, nil), &got)
	return got.Notes
}

func TestABadNoteIsRefused(t *testing.T) {
	w := newWorld(t)
	token := w.tokensFor("alice").AccessToken
	for body, want := range map[string]int{
		"": 400, "text": 400, `{}`: 400, `{"text":" "}`: 400, `{"text":7}`: 400,
		`{"text":"` + strings.Repeat("x", maxNoteText+1) + `"}`: 413,
		`{"text":"` + strings.Repeat("x", maxNoteBody) + `"}`:   413,
	} {
		if rec := w.call("POST", "/v1/notes", token, strings.NewReader(body)); rec.Code != want {
			t.Errorf("%.20s: %d, want %d", body, rec.Code, want)
		}
	}
}

func TestNotesAreBounded(t *testing.T) {
	w := newWorld(t)
	token := w.tokensFor("alice").AccessToken
	for i := range maxNotes + 5 {
		w.call("POST", "/v1/notes", token, strings.NewReader(fmt.Sprintf(`{"text":"%d"}`, i)))
	}
	notes := w.notesOf(token)
	if len(notes) != maxNotes || notes[0].Text != "5" {
		t.Errorf("%d notes, the first is %q", len(notes), notes[0].Text)
	}
}

func TestEchoShowsTheCallAndNoSecret(t *testing.T) {
	w := newWorld(t)
	token := w.tokensFor("alice").AccessToken
	for _, method := range []string{"GET", "POST", "DELETE", "PURGE"} {
		r := httptest.NewRequest(method, "http://api.example/v1/echo?a=1&a=2", strings.NewReader("hello"))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header["X-Twice"] = []string{"a", "b"}
		rec := w.do(r)
		var got struct {
			Method, Path, Query, Host string
			Headers                   http.Header
			BodyBytes                 int `json:"body_bytes"`
		}
		if strings.Contains(rec.Body.String(), token) {
			t.Error("the echo holds the token")
		}
		decode(t, rec, &got)
		if got.Method != method || got.Path != "/v1/echo" || got.Query != "a=1&a=2" || got.Host != "api.example" || got.BodyBytes != 5 {
			t.Errorf("got %+v", got)
		}
		if got.Headers.Get("Authorization") != "Bearer … (set)" || len(got.Headers["X-Twice"]) != 2 {
			t.Errorf("headers %v", got.Headers)
		}
	}
}

func TestUnknownPathsAreNotFoundInJSON(t *testing.T) {
	w := newWorld(t)
	token := w.tokensFor("alice").AccessToken
	wantError(t, w.call("GET", "/v1/nowhere", token, nil), http.StatusNotFound, "not_found")
	wantError(t, w.call("DELETE", "/v1/me", token, nil), http.StatusNotFound, "not_found")
}

func TestTicksAreSentOneByOne(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w)
	defer server.Close()
	r, _ := http.NewRequest("GET", server.URL+"/v1/ticks?n=2&every=10s", nil)
	r.Header.Set("Authorization", "Bearer "+w.tokensFor("alice").AccessToken)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() // long before the second tick
	first := make([]byte, 256)
	n, err := res.Body.Read(first)
	if got := string(first[:n]); err != nil || !strings.HasPrefix(got, "id: 1\nevent: tick\ndata: {\"tick\":1,\"of\":2,") || !strings.HasSuffix(got, "\n\n") {
		t.Errorf("read %q, %v", got, err)
	}
	if res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%v", res.Header)
	}
}

func TestTicksEndAfterN(t *testing.T) {
	w := newWorld(t)
	token := w.tokensFor("alice").AccessToken
	rec := w.call("GET", "/v1/ticks?n=7&every=0s", token, nil)
	if n := strings.Count(rec.Body.String(), "event: tick\n"); n != 7 || !rec.Flushed {
		t.Errorf("%d ticks", n)
	}
	for _, query := range []string{"n=0", "n=1001", "n=x", "every=-1s", "every=11s", "every=x"} {
		wantError(t, w.call("GET", "/v1/ticks?"+query, token, nil), http.StatusBadRequest, "invalid_request")
	}
}

func TestABlobIsHashedAsItComes(t *testing.T) {
	w := newWorld(t)
	body := strings.Repeat("0123456789abcdef", 1<<16)
	var got struct {
		Bytes  int
		SHA256 string
	}
	decode(t, w.call("PUT", "/v1/blob", w.tokensFor("alice").AccessToken, strings.NewReader(body)), &got)
	sum := sha256.Sum256([]byte(body))
	if got.Bytes != len(body) || got.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("got %+v", got)
	}
}

func TestABlobIsAlwaysTheSame(t *testing.T) {
	w := newWorld(t)
	token := w.tokensFor("alice").AccessToken
	short, long := w.call("GET", "/v1/blob?bytes=1000", token, nil), w.call("GET", "/v1/blob?bytes=100001", token, nil)
	if short.Body.Len() != 1000 || long.Body.Len() != 100001 || !strings.HasPrefix(long.Body.String(), short.Body.String()) {
		t.Errorf("%d and %d bytes", short.Body.Len(), long.Body.Len())
	}
	if long.Header().Get("Content-Length") != "100001" {
		t.Errorf("Content-Length %q", long.Header().Get("Content-Length"))
	}
	if head := w.call("HEAD", "/v1/blob?bytes=4294967296", token, nil); head.Body.Len() != 0 || head.Code != http.StatusOK {
		t.Errorf("HEAD: %d", head.Code)
	}
	for _, query := range []string{"bytes=-1", "bytes=4294967297", "bytes=x"} {
		wantError(t, w.call("GET", "/v1/blob?"+query, token, nil), http.StatusBadRequest, "invalid_request")
	}
}

// discard is a response that keeps only its size.
type discard struct {
	header http.Header
	size   int64
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { d.size += int64(len(b)); return len(b), nil }

func TestALargeBlobNeedsLittleMemory(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("GET", "/v1/blob?bytes=268435456", nil)
	r.Header.Set("Authorization", "Bearer "+w.tokensFor("alice").AccessToken)
	out := &discard{header: http.Header{}}
	used := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			w.ServeHTTP(out, r)
		}
	}).AllocedBytesPerOp()
	if out.size < 268435456 || used > 1<<20 {
		t.Errorf("%d bytes sent, %d allocated for each", out.size, used)
	}
}
