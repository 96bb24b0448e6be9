// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/toolkit"
)

const (
	notAccepted = "does not accept what you entered"
	notAsked    = "could not be asked whether this is right"
	notSaid     = "does not say whether this is right"
)

func TestOnlyAKeyThatTheProviderTakesIsKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*http.Request) (*http.Response, error)
		notice string // "": it is kept
		reason string
	}{
		{"yes", answering(200, `{"email":"ada"}`), "", ""},
		{"yes, without a word", answering(204, ""), "", ""},
		{"yes, and nonsense", answering(200, "<html>"), "", ""},
		{"yes, without an end", func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(endless{})}, nil
		}, "", ""},
		{"401", answering(401, ""), notAccepted, "wrong_key"},
		{"403", answering(403, ""), notAccepted, "wrong_key"},
		{"its own sign of 401", answering(200, `{"ok":false,"error":"invalid_auth"}`), notAccepted, "wrong_key"},
		{"a page to log in", answering(302, ""), notSaid, "check_failed"},
		{"an upgrade", func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 101, Body: io.NopCloser(stuck{})}, nil
		}, notSaid, "check_failed"},
		{"400", answering(400, ""), notSaid, "check_failed"},
		{"404", answering(404, ""), notSaid, "check_failed"},
		{"408", answering(408, ""), notAsked, "check_unavailable"},
		{"too busy", answering(429, ""), notAsked, "check_unavailable"},
		{"500", answering(500, ""), notAsked, "check_unavailable"},
		{"nothing", func(*http.Request) (*http.Response, error) { return nil, errors.New("the line is dead") }, notAsked, "check_unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, desk := newKeyWorld(t, change(func(tk *toolkit.Toolkit) {
				tk.Auth.Refused = &toolkit.Sign{Status: 200, Field: "error", Values: []string{"token_expired", "invalid_auth"}}
			}))
			desk.answer = c.answer
			b, link := newBrowser(w), w.link(alice)
			p := b.enter(link, badKey)
			if desk.times() != 1 {
				t.Errorf("asked %d times", desk.times())
			}
			if c.notice == "" {
				if !strings.Contains(p.text, "onnected") || w.connection().AccessToken.Reveal() != badKey {
					t.Errorf("not kept:\n%s", p.text)
				}
				return
			}
			p.wantNotice(t, http.StatusOK, c.notice)
			w.notConnected()
			w.wantReported("failed " + c.reason)
			if got := w.audit.text(); got != "link_started, connect_failed "+c.reason || p.address != link {
				t.Errorf("audit: %s, at %s", got, p.address)
			}
			if p := newBrowser(w).get(link); strings.Contains(p.text, c.notice) {
				t.Error("another browser is told")
			}
			desk.answer = nil
			b.enter(link, goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
		})
	}
}

// endless is a body of more than anybody reads.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// stuck is a body of which nobody gets to the end.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { panic("it is read") }

func TestNobodyWaitsLongForAProviderThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, desk := newKeyWorld(t)
		desk.answer = func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		began := time.Now()
		newBrowser(w).enter(w.link(alice), goodKey).wantNotice(t, http.StatusOK, notAsked)
		if took := time.Since(began); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		w.notConnected()
	})
}

func TestNotMoreThanAMegabyteIsReadOfAnAnswer(t *testing.T) {
	w, desk := newKeyWorld(t)
	body := &counting{}
	desk.answer = func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200, Body: body}, nil }
	newBrowser(w).enter(w.link(alice), goodKey).want(t, http.StatusOK, "Acme is connected")
	if body.read != 1<<20 || !body.closed {
		t.Errorf("%d bytes were read, closed: %v", body.read, body.closed)
	}
}

type counting struct {
	read   int
	closed bool
}

func (c *counting) Read(p []byte) (int, error) { c.read += len(p); return len(p), nil }
func (c *counting) Close() error               { c.closed = true; return nil }

func TestWhatCanBeNoKeyIsNotEvenTried(t *testing.T) {
	const (
		missing = "Something is missing."
		odd     = "spaces or characters in it that a key cannot have"
		long    = "That is too long"
		name    = "A user name has no colon"
	)
	basic := toolkit.AuthDefinition{Kind: toolkit.Basic}
	one := toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Acme-Key"}
	two := toolkit.AuthDefinition{Kind: toolkit.APIKey, Fields: []toolkit.FieldDefinition{{Name: "a", Header: "A"}, {Name: "b", Query: "B"}}}
	for _, c := range []struct {
		name   string
		auth   toolkit.AuthDefinition
		form   url.Values
		notice string
	}{
		{"nothing", one, url.Values{}, missing},
		{"empty", one, url.Values{"key.key": {""}}, missing},
		{"spaces", one, url.Values{"key.key": {" \t\u00a0\n"}}, missing},
		{"twice", one, url.Values{"key.key": {"marker-1", "marker-2"}}, missing},
		{"under another name", one, url.Values{"key": {"marker"}, "token2": {"marker"}}, missing},
		{"a line break", one, url.Values{"key.key": {"marker\r\nX-Evil: 1"}}, odd},
		{"a null", one, url.Values{"key.key": {"marker\x00"}}, odd},
		{"a tab", one, url.Values{"key.key": {"mar\tker"}}, odd},
		{"a space", one, url.Values{"key.key": {"mar ker"}}, odd},
		{"DEL", one, url.Values{"key.key": {"marker\x7f"}}, odd},
		{"an umlaut", one, url.Values{"key.key": {"märker-marker"}}, odd},
		{"a byte", one, url.Values{"key.key": {"marker\xff"}}, odd},
		{"a space of no width", one, url.Values{"key.key": {"\u200bmarker"}}, odd},
		{"4 KiB and one", one, url.Values{"key.key": {strings.Repeat("k", 4<<10+1)}}, long},
		{"one of two", two, url.Values{"key.a": {"marker"}}, missing},
		{"one of two empty", two, url.Values{"key.a": {"marker"}, "key.b": {" "}}, missing},
		{"a query with a space", two, url.Values{"key.a": {"marker"}, "key.b": {"mar ker"}}, odd},
		{"a name with a colon", basic, url.Values{"key.username": {"ada:marker"}, "key.password": {"marker"}}, name},
		{"a password with a line break", basic, url.Values{"key.username": {"ada"}, "key.password": {"mar\nker"}}, name},
		{"a password of bytes", basic, url.Values{"key.username": {"ada"}, "key.password": {"marker\xff"}}, name},
		{"no password", basic, url.Values{"key.username": {"ada"}, "key.password": {""}}, missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, desk := newKeyWorld(t, of(t, c.auth))
			b, link := newBrowser(w), w.link(alice)
			form := formOf(t, b.get(link)).fields
			for name, values := range c.form {
				form[name] = values
			}
			writes := w.store.writes
			p := b.navigate("POST", link, form, "same-origin")
			p.wantNotice(t, http.StatusUnprocessableEntity, c.notice)
			if desk.times() != 0 || w.store.writes != writes || w.audit.text() != "" {
				t.Errorf("asked %d times, %d writes, audit: %s", desk.times(), w.store.writes-writes, w.audit.text())
			}
			w.notConnected()
		})
	}
}

func TestTheLongestKeysFitIntoAForm(t *testing.T) {
	auth := toolkit.AuthDefinition{Kind: toolkit.APIKey}
	var entered []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		auth.Fields = append(auth.Fields, toolkit.FieldDefinition{Name: name, Header: "X-" + name})
		entered = append(entered, "key."+name, strings.Repeat(`"`, 4<<10)) // three bytes for each
	}
	w, desk := newKeyWorld(t, of(t, auth))
	desk.answer = answering(200, "{}")
	newBrowser(w).enter(w.link(alice), entered...).want(t, http.StatusOK, "Acme is connected")
}

// TestNothingShowsWhatWasEntered walks every way that a key can go wrong, with a
// provider that echoes and a network that quotes, and looks at all that comes out.
func TestNothingShowsWhatWasEntered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // saving is tried for seconds
		const key = "&entered-marker"
		w, desk := newKeyWorld(t, of(t, toolkit.AuthDefinition{Kind: toolkit.APIKey, Query: "k"}))
		b, link := newBrowser(w), w.link(alice)
		var shown strings.Builder
		see := func(p *page) { fmt.Fprintln(&shown, p.address, p.header, p.text) }
		for _, entered := range []string{key + " ", key + "\x00", key + strings.Repeat("x", 4<<10), key + "ü"} {
			see(b.enter(link, entered))
		}
		for _, status := range []int{101, 200, 302, 400, 401, 403, 404, 429, 500} {
			desk.answer = func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Status: r.URL.RawQuery, Header: http.Header{"Location": {r.URL.String()}}, Body: io.NopCloser(strings.NewReader(r.URL.String()))}, nil
			}
			see(b.enter(w.link(alice), key))
		}
		for _, err := range []error{errors.New("malformed HTTP response %q"), &net.OpError{Op: "read", Err: errors.New("x")}, &net.OpError{Op: "dial", Err: errors.New("refused")}, context.DeadlineExceeded} {
			desk.answer = func(r *http.Request) (*http.Response, error) {
				return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: fmt.Errorf("%w %s", err, err.Error())}
			}
			see(b.enter(w.link(alice), key))
		}
		desk.answer = answering(200, "{}")
		link = w.link(alice)
		for _, fault := range []string{"get link", "put link", "get connection", "put connection"} {
			p := b.get(link)
			op, kind, _ := strings.Cut(fault, " ")
			w.store.failing(op, kind)
			see(b.press(p, "key.key", key))
			w.store.works()
			w.clock.pass(time.Minute + time.Second) // a link that was left busy
		}
		p := b.get(link)
		see(newBrowser(w).press(p, "key.key", key))
		see(b.enter(w.link(alice), key))

		fmt.Fprintln(&shown, w.store.dump(), b.trail)
		for _, e := range w.events {
			fmt.Fprintf(&shown, "%+v %q %v\n", e, e.Err, e.Err)
		}
		lines, err := json.Marshal(w.audit.lines)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&shown, "%s %+v %+v", lines, w.told, w.connection())
		for _, bad := range []string{"entered-marker", "ZW50ZXJlZC1tYXJrZX"} {
			if at := strings.Index(shown.String(), bad); at >= 0 {
				t.Errorf("it is shown: %s", shown.String()[max(0, at-200):at+40])
			}
		}
		w.wantReported("failed not_kept")
		if len(w.events) < 20 || w.connection().AccessToken.Reveal() != key {
			t.Errorf("%d events, kept %q", len(w.events), w.connection().AccessToken.Reveal())
		}
	})
}

func TestAStoreThatFailsKeepsNoHalfKey(t *testing.T) {
	for _, fault := range []string{"get link", "put link", "get connection", "put connection"} {
		t.Run(fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := newKeyWorld(t)
				b, link := newBrowser(w), w.link(alice)
				p := b.get(link)
				op, kind, _ := strings.Cut(fault, " ")
				w.store.failing(op, kind)
				b.press(p, "key.key", goodKey).want(t, http.StatusServiceUnavailable, sorry)
				w.wantNothingHalf(t)
				b.enter(link, goodKey).want(t, http.StatusOK, "Connected as ada@acme.example")
			})
		})
	}
}
