// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	goodKey = "good-key-marker-0123456789"
	badKey  = "bad-key-marker-0123456789"
	helpURL = "https://help.example/keys#where"
)

// keyDesk is a provider's API that takes keys, and remembers who asked.
type keyDesk struct {
	mu     sync.Mutex
	asked  []*http.Request
	answer func(*http.Request) (*http.Response, error) // nil: yes to goodKey alone
}

func (d *keyDesk) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.asked = append(d.asked, r)
	answer := d.answer
	d.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if answer != nil {
		return answer(r)
	}
	if r.Header.Get("X-Acme-Key") != goodKey {
		return says(http.StatusUnauthorized, `{"error":"`+r.Header.Get("X-Acme-Key")+`"}`), nil
	}
	return says(http.StatusOK, `{"email":"ada@acme.example"}`), nil
}

func (d *keyDesk) times() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

func says(status int, text string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://acme.example/login"}}, Body: io.NopCloser(strings.NewReader(text))}
}

// answering is a desk that says the same to everybody.
func answering(status int, text string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return says(status, text), nil }
}

// newKeyWorld is a world where Acme takes keys that each user enters.
func newKeyWorld(t testing.TB, changes ...func(*connect.Config)) (*world, *keyDesk) {
	desk := new(keyDesk)
	w := newWorld(t, append([]func(*connect.Config){func(cfg *connect.Config) {
		cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: keyToolkit(t, toolkit.AuthDefinition{Kind: toolkit.APIKey, Header: "X-Acme-Key"}), Upstream: desk}
	}}, changes...)...)
	return w, desk
}

func keyToolkit(t testing.TB, auth toolkit.AuthDefinition) *toolkit.Toolkit {
	t.Helper()
	auth.PerUser = true
	tk, err := toolkit.Definition{
		ID: "acme", Name: "Acme", BaseURL: acmeURL + "/v1", Headers: map[string]string{"X-Api-Version": "7"}, Auth: auth,
		Identity: &toolkit.Identity{Path: "/me", Field: "email"}, Help: "It begins with good.", HelpURL: helpURL,
	}.Toolkit()
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

// change is for one toolkit's data, before the world is made.
func change(how func(*toolkit.Toolkit)) func(*connect.Config) {
	return func(cfg *connect.Config) { how(cfg.Toolkits["acme"].Toolkit) }
}

// of makes Acme's keys of another kind.
func of(t testing.TB, auth toolkit.AuthDefinition) func(*connect.Config) {
	return func(cfg *connect.Config) {
		cfg.Toolkits["acme"] = connect.Endpoint{Toolkit: keyToolkit(t, auth), Upstream: cfg.Toolkits["acme"].Upstream}
	}
}

// enter opens the link and sends the form.
func (b *browser) enter(link string, fields ...string) *page {
	b.w.t.Helper()
	if len(fields) == 1 {
		fields = []string{"key.key", fields[0]}
	}
	return b.press(b.get(link), fields...)
}

// wantNotice checks that the form is there again, and says why.
func (p *page) wantNotice(t testing.TB, status int, notice string) {
	t.Helper()
	p.want(t, status, "Connect Acme?")
	if !strings.Contains(p.text, notice) || formOf(t, p) == nil {
		t.Errorf("the page does not say %q:\n%s", notice, p.text)
	}
	if strings.Contains(p.text, "marker") {
		t.Errorf("the page shows what was entered:\n%s", p.text)
	}
}
