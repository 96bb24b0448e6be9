// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

var now = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// endpoint is a token endpoint that says what a test tells it to.
type endpoint struct {
	t        *testing.T
	requests atomic.Int32
	answer   http.HandlerFunc
	form     url.Values
	header   http.Header
	oauth    *toolkit.OAuth2
	client   *oauth.Client
}

const (
	refreshToken = "refresh-Zm9v"
	clientSecret = "s3cr%t+&: ü"
)

func newEndpoint(t *testing.T, answer http.HandlerFunc) *endpoint {
	t.Helper()
	e := &endpoint{t: t, answer: answer}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.requests.Add(1)
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.URL.RawQuery != "" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		e.form, e.header = r.PostForm, r.Header
		e.answer(w, r)
	}))
	t.Cleanup(server.Close)
	e.oauth = &toolkit.OAuth2{
		TokenURL: server.URL + "/token", RevokeURL: server.URL + "/revoke",
		AuthStyle: toolkit.StyleBasic, ClientID: "client+%1", ClientSecret: secret.New(clientSecret),
	}
	e.client = &oauth.Client{Timeout: 5 * time.Second, Now: func() time.Time { return now }}
	return e
}

func says(status int, contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
}

// refresh asks once, and sees to what holds for every answer.
func (e *endpoint) refresh() (oauth.Grant, error) {
	e.t.Helper()
	g, err := e.client.Refresh(context.Background(), e.oauth, secret.New(refreshToken))
	if n := e.requests.Load(); n != 1 {
		e.t.Errorf("%d requests: a refresh token is good for one", n)
	}
	if err != nil {
		text := fmt.Sprintf("%v %+v %#v", err, err, err)
		for _, secret := range []string{refreshToken, clientSecret, "DESCRIPTION", "hunter2"} {
			if strings.Contains(text, secret) {
				e.t.Errorf("the error quotes %q: %s", secret, text)
			}
		}
	}
	return g, err
}

func TestClientsProveThemselvesAsTheyAreTold(t *testing.T) {
	ok := says(200, "application/json", `{"access_token":"a"}`)
	for _, c := range []struct {
		style            toolkit.AuthStyle
		user, id, secret string
	}{
		{toolkit.StyleBasic, "client%2B%251:s3cr%25t%2B%26%3A+%C3%BC", "", ""},
		{"", "client%2B%251:s3cr%25t%2B%26%3A+%C3%BC", "", ""},
		{toolkit.StyleBody, "", "client+%1", clientSecret},
		{toolkit.StyleNone, "", "client+%1", ""},
	} {
		e := newEndpoint(t, ok)
		e.oauth.AuthStyle = c.style
		if _, err := e.refresh(); err != nil {
			t.Fatal(err)
		}
		want := ""
		if c.user != "" {
			want = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user))
		}
		if got := e.header.Get("Authorization"); got != want {
			t.Errorf("%q: Authorization %q", c.style, got)
		}
		if e.form.Get("client_id") != c.id || e.form.Get("client_secret") != c.secret || e.form.Has("client_secret") != (c.secret != "") {
			t.Errorf("%q: form %v", c.style, e.form)
		}
		if e.header.Get("Accept") != "application/json" || e.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%q: headers %v", c.style, e.header)
		}
	}
}

func TestExchangeAndRefreshSendWhatTheStandardsAsk(t *testing.T) {
	e := newEndpoint(t, says(200, "application/json", `{"access_token":"a"}`))
	if _, err := e.client.Exchange(t.Context(), e.oauth, "code", "verifier", "https://gw.example/callback/acme"); err != nil {
		t.Fatal(err)
	}
	want := url.Values{"grant_type": {"authorization_code"}, "code": {"code"}, "code_verifier": {"verifier"}, "redirect_uri": {"https://gw.example/callback/acme"}}
	if e.form.Encode() != want.Encode() {
		t.Errorf("exchange: %v", e.form)
	}
	e.requests.Store(0)
	if _, err := e.refresh(); err != nil {
		t.Fatal(err)
	}
	if want := (url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}); e.form.Encode() != want.Encode() {
		t.Errorf("refresh: %v", e.form)
	}
}

func TestAnswersAreReadWithAnOpenMind(t *testing.T) {
	for _, c := range []struct {
		why, contentType, text string
		life                   time.Duration
		scopes                 string
	}{
		{"plain", "application/json", `{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":3600,"scope":"x y"}`, time.Hour, "x y"},
		{"a form", "application/x-www-form-urlencoded", "access_token=a&refresh_token=r&expires_in=3600&scope=x%2Cy", time.Hour, "x y"},
		{"a form that says it is text", "text/plain", "access_token=a&refresh_token=r\n", 0, ""},
		{"JSON as text/html", "text/html", `{"access_token":"a","refresh_token":"r"}`, 0, ""},
		{"a byte order mark", "application/json", "\ufeff" + ` {"access_token":"a","refresh_token":"r"}`, 0, ""},
		{"seconds as text", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":"3600"}`, time.Hour, ""},
		{"a fraction", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":3600.0}`, time.Hour, ""},
		{"a fraction as text", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":"3600.9"}`, time.Hour, ""},
		{"no seconds", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":""}`, 0, ""},
		{"null", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":null,"scope":null,"error":null}`, 0, ""},
		{"zero", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":0,"error":0}`, 0, ""},
		{"less than nothing", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":-1}`, 0, ""},
		{"nonsense", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":{"n":[1]}}`, 0, ""},
		{"an eternity", "application/json", `{"access_token":"a","refresh_token":"r","expires_in":9e99}`, 10 * 365 * 24 * time.Hour, ""},
		{"scopes with commas", "application/json", `{"access_token":"a","refresh_token":"r","scope":"x,y"}`, 0, "x y"},
		{"scopes in a list", "application/json", `{"access_token":"a","refresh_token":"r","scope":["x","y"]}`, 0, "x y"},
		{"empty scopes", "application/json", `{"access_token":"a","refresh_token":"r","scope":""}`, 0, ""},
		{"an empty error", "application/json", `{"access_token":"a","refresh_token":"r","error":"","error_description":""}`, 0, ""},
		{"a number for a token", "application/json", `{"access_token":"a","refresh_token":"r","id":7,"token_type":9,"status":200,"data":"x"}`, 0, ""},
		{"Slack's user token", "application/json", `{"ok":true,"authed_user":{"id":"U1","access_token":"a","refresh_token":"r","expires_in":43200,"scope":"x,y"}}`, 12 * time.Hour, "x y"},
		{"TikTok's data", "application/json", `{"message":"success","data":{"access_token":"a","refresh_token":"r","error_code":0}}`, 0, ""},
	} {
		g, err := newEndpoint(t, says(200, c.contentType, c.text)).refresh()
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if g.AccessToken.Reveal() != "a" || g.RefreshToken.Reveal() != "r" || !g.IssuedAt.Equal(now) || strings.Join(g.Scopes, " ") != c.scopes {
			t.Errorf("%s: %s, %s, %v, %q", c.why, g.AccessToken.Reveal(), g.RefreshToken.Reveal(), g.IssuedAt, g.Scopes)
		}
		if c.life == 0 && !g.ExpiresAt.IsZero() || c.life != 0 && !g.ExpiresAt.Equal(now.Add(c.life)) {
			t.Errorf("%s: good until %v", c.why, g.ExpiresAt)
		}
	}
}

func TestANumberCanBeARefreshToken(t *testing.T) {
	g, err := newEndpoint(t, says(200, "application/json", `{"access_token":123,"refresh_token":45678901234567890123}`)).refresh()
	if err != nil || g.AccessToken.Reveal() != "123" || g.RefreshToken.Reveal() != "45678901234567890123" {
		t.Errorf("%q, %q, %v", g.AccessToken.Reveal(), g.RefreshToken.Reveal(), err)
	}
}

func TestAnIDTokenIsHandedOnAsItCame(t *testing.T) {
	for text, want := range map[string]string{
		`{"access_token":"a","id_token":"e30.e30.sig"}`:                                      "e30.e30.sig",
		`{"access_token":"a"}`:                                                               "",
		`{"access_token":"a","id_token":{"odd":true}}`:                                       "",
		`{"authed_user":{"access_token":"a","id_token":"the.users.own"},"id_token":"x.y.z"}`: "the.users.own",
	} {
		g, err := newEndpoint(t, says(200, "application/json", text)).refresh()
		if err != nil || g.IDToken.Reveal() != want {
			t.Errorf("%s: %q, %v", text, g.IDToken.Reveal(), err)
		}
	}
}

func TestTimesAreWallTimes(t *testing.T) {
	e := newEndpoint(t, says(200, "application/json", `{"access_token":"a","expires_in":60}`))
	e.client.Now = time.Now // has a monotonic reading, which stands still while a laptop sleeps
	g, err := e.refresh()
	if err != nil || g.IssuedAt != g.IssuedAt.Round(0).UTC() || g.ExpiresAt != g.ExpiresAt.Round(0).UTC() {
		t.Errorf("%v, %v, %v", g.IssuedAt, g.ExpiresAt, err)
	}
}

func TestADefiniteNoIsToldFromOneAboutTheClient(t *testing.T) {
	for _, c := range []struct {
		status int
		text   string
		code   string
		grant  bool
	}{
		{400, `{"error":"invalid_grant","error_description":"DESCRIPTION hunter2"}`, "invalid_grant", true},
		{200, `{"error":"invalid_grant"}`, "invalid_grant", true},
		{403, `{"error":"invalid_grant"}`, "invalid_grant", true},
		{200, `{"ok":false,"error":"invalid_refresh_token"}`, "invalid_refresh_token", true},
		{200, `error=bad_refresh_token&error_description=DESCRIPTION`, "bad_refresh_token", true},
		{200, `{"error":"bad_verification_code"}`, "bad_verification_code", true},
		{400, `{"status":"BAD_REFRESH_TOKEN","message":"DESCRIPTION"}`, "BAD_REFRESH_TOKEN", true},
		{400, `{"error":"interaction_required"}`, "interaction_required", true},
		{400, `{"error":{"code":"invalid_grant","message":"DESCRIPTION"}}`, "invalid_grant", true},
		{401, `{"error":"invalid_client"}`, "invalid_client", false},
		{200, `{"error":"incorrect_client_credentials"}`, "incorrect_client_credentials", false},
		{400, `{"error":"unauthorized_client"}`, "unauthorized_client", false},
		{400, `{"error":"invalid_scope"}`, "invalid_scope", false},
		{400, `{"error":{"type":"OAuthException","code":190}}`, "OAuthException", false},
		{400, `{"error":true}`, "unknown", false},
		{400, `{"error":"Bad thing: <b>hunter2</b>\n"}`, "Badthingbhunter2b", false},
		{200, `{"access_token":"a","error":"invalid_scope"}`, "invalid_scope", false},
	} {
		e := newEndpoint(t, says(c.status, "application/json", c.text))
		g, err := e.client.Refresh(t.Context(), e.oauth, secret.New(refreshToken))
		no, ok := errors.AsType[*oauth.Refused](err)
		if !ok || no.Code != c.code || no.Grant() != c.grant || no.Status != c.status || !g.AccessToken.IsZero() {
			t.Errorf("%d %s: %v", c.status, c.text, err)
		}
		if strings.Contains(err.Error(), "DESCRIPTION") || e.requests.Load() != 1 {
			t.Errorf("%s: %v, %d requests", c.text, err, e.requests.Load())
		}
	}
}

func TestAFaultThatPassesIsNoRefusal(t *testing.T) {
	with := func(name, value string, next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(name, value)
			next(w, r)
		}
	}
	html := "<html><h1>Bad gateway</h1>DESCRIPTION " + refreshToken + "</html>"
	for why, c := range map[string]struct {
		answer     http.HandlerFunc
		unspent    bool
		retryAfter time.Duration
	}{
		"a proxy's page":             {says(502, "text/html", html), false, 0},
		"a gateway that timed out":   {says(504, "text/html", html), false, 0},
		"an error of theirs":         {says(500, "application/json", `{"error":"invalid_grant"}`), false, 0},
		"maintenance":                {with("Retry-After", "120", says(503, "text/html", html)), true, 2 * time.Minute},
		"too many":                   {with("Retry-After", "7", says(429, "application/json", `{"error":"rate_limited"}`)), true, 7 * time.Second},
		"too many, until":            {with("Retry-After", now.Add(90*time.Second).Format(http.TimeFormat), says(429, "", "")), true, 90 * time.Second},
		"too many, for ages":         {with("Retry-After", "9223372036854775807", says(429, "", "")), true, time.Hour},
		"too many, nonsense":         {with("Retry-After", "-5", says(429, "", "")), true, 0},
		"too many, in the past":      {with("Retry-After", now.Add(-time.Hour).Format(http.TimeFormat), says(429, "", "")), true, 0},
		"temporarily unavailable":    {says(400, "application/json", `{"error":"temporarily_unavailable"}`), true, 0},
		"Slack's rate limit":         {says(200, "application/json", `{"ok":false,"error":"ratelimited"}`), true, 0},
		"a page instead of a token":  {says(200, "text/html", html), false, 0},
		"broken JSON":                {says(200, "application/json", `{"access_token":"hunter2`), false, 0},
		"JSON and something else":    {says(200, "application/json", `{"access_token":"hunter2"} x`), false, 0},
		"nothing":                    {says(200, "application/json", ""), false, 0},
		"no content":                 {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, false, 0},
		"no token":                   {says(200, "application/json", `{"access_token":"","refresh_token":"hunter2"}`), false, 0},
		"a firewall":                 {says(403, "text/html", html), true, 0},
		"an answer that is too big":  {says(200, "application/json", `{"access_token":"a","x":"`+strings.Repeat("x", 1<<20)+`"}`), false, 0},
		"a status that means little": {says(400, "application/json", `{"status":"error","message":"DESCRIPTION"}`), true, 0},
	} {
		_, err := newEndpoint(t, c.answer).refresh()
		away, ok := errors.AsType[*oauth.Unavailable](err)
		if !ok || away.Unspent != c.unspent || away.RetryAfter != c.retryAfter {
			t.Errorf("%s: %v, %+v", why, err, away)
		}
	}
}

func TestARedirectIsNeverFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("%d: the other host got %s %s", status, r.Method, r.URL)
		}))
		e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, evil.URL+"/take", status) })
		_, err := e.refresh()
		if away, ok := errors.AsType[*oauth.Unavailable](err); !ok || !away.Unspent {
			t.Errorf("%d: %v", status, err)
		}
		if err := e.client.Revoke(t.Context(), e.oauth, secret.New("x"), secret.New("y")); err == nil {
			t.Errorf("%d: revoked?", status)
		}
		evil.Close()
	}
}

func TestABrokenConnectionIsNotTriedAgain(t *testing.T) {
	for why, answer := range map[string]http.HandlerFunc{
		"before the answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"in its middle": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"access_token":"hunter2"}`)
		},
	} {
		e := newEndpoint(t, says(200, "application/json", `{"access_token":"warm"}`))
		if _, err := e.refresh(); err != nil { // so that the connection is an old one, which net/http might try again
			t.Fatal(err)
		}
		e.requests.Store(0)
		e.answer = answer
		_, err := e.refresh()
		if away, ok := errors.AsType[*oauth.Unavailable](err); !ok || away.Unspent {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestAnEndpointThatIsNotThereHasSpentNothing(t *testing.T) {
	e := newEndpoint(t, nil)
	server := httptest.NewServer(nil)
	e.oauth.TokenURL = server.URL
	server.Close()
	_, err := e.client.Refresh(t.Context(), e.oauth, secret.New(refreshToken))
	if away, ok := errors.AsType[*oauth.Unavailable](err); !ok || !away.Unspent {
		t.Errorf("%v", err)
	}
	e.oauth.TokenURL = "http://[broken/" + clientSecret
	if _, err = e.client.Refresh(t.Context(), e.oauth, secret.New(refreshToken)); err == nil || strings.Contains(err.Error(), clientSecret) {
		t.Errorf("%v", err)
	}
}

func TestAnEndpointThatHangsIsGivenUp(t *testing.T) {
	hang := make(chan struct{})
	e := newEndpoint(t, func(http.ResponseWriter, *http.Request) { <-hang })
	defer close(hang)
	e.client.Timeout = 50 * time.Millisecond
	_, err := e.refresh()
	if away, ok := errors.AsType[*oauth.Unavailable](err); !ok || away.Unspent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestATokenThatNoHeaderCanHoldIsNotTaken(t *testing.T) {
	for _, token := range []string{"ACCESS\r\nX: y", "two words", "tab\there", "naïve", "\x7f"} {
		e := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"access_token":%q,"expires_in":60}`, token)
		})
		grant, err := e.client.Refresh(context.Background(), e.oauth, secret.New(refreshToken))
		away, ok := errors.AsType[*oauth.Unavailable](err)
		if !ok || away.Unspent || !grant.AccessToken.IsZero() || strings.Contains(err.Error(), "ACCESS") {
			t.Errorf("%q: %v", token, err)
		}
	}
}
