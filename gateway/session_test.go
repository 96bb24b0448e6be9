// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

func adas(toolkits ...string) caller.Session {
	return caller.Session{ID: "s1", Tenant: "default", Agent: "bot", User: "ada", Toolkits: toolkits}
}

// call makes a call with nothing but a base URL and a token, as SDKs do.
func call(w *gatewaytest.World, path string, header ...string) (*http.Response, string) {
	r, _ := http.NewRequest("GET", w.H1+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return w.Do(r)
}

func TestASessionsTokenIsAllThatAnSDKNeeds(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	token := w.Sessions.Add(adas())
	for name, header := range map[string][]string{
		"Bearer":             {"Authorization", "Bearer " + token},
		"token":              {"Authorization", "token " + token},
		"bare":               {"Authorization", token},
		"x-api-key":          {"X-Api-Key", token},
		"X-Toolgate-Key":     {"X-Toolgate-Key", token},
		"the same user":      {"X-Toolgate-Key", token, "X-User-Id", "ada"},
		"another's password": {"X-Toolgate-Key", token, "Authorization", "Bearer sk-placeholder"},
		"twice the same":     {"X-Toolgate-Key", token, "Authorization", "Bearer " + token},
	} {
		t.Run(name, func(t *testing.T) {
			if res, body := call(w, "/acme/user", header...); res.StatusCode != 200 {
				t.Fatal(res.Status, body)
			}
			seen := w.Provider.Last(t)
			if seen.Header.Get("Authorization") != "Bearer "+gatewaytest.UserToken {
				t.Error(seen.Header)
			}
			for name, values := range seen.Header {
				if strings.Contains(strings.Join(values, " "), token) {
					t.Errorf("the provider got the session's token in %s", name)
				}
			}
		})
	}
}

func TestASessionIsForItsUserItsAgentAndItsToolkitsAlone(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	one := w.Sessions.Add(adas("acme", "weather"))
	two := adas()
	two.User = "bob"
	bobs := w.Sessions.Add(two)
	gone := adas()
	gone.Agent = "dismissed"
	dismissed := w.Sessions.Add(gone)
	other := adas()
	other.Tenant = "elsewhere"
	elsewhere := w.Sessions.Add(other)
	clerk := adas()
	clerk.Agent, clerk.User = "clerk", "bob" // which may act for ada alone
	beyond := w.Sessions.Add(clerk)
	clerk.User = "ada"
	clerks := w.Sessions.Add(clerk)
	bad := adas()
	bad.ID = "s2"
	revoked := w.Sessions.Add(bad)
	w.Sessions.Revoke("s2")
	for name, c := range map[string]struct {
		header []string
		path   string
		code   string
	}{
		"another user in the header":            {[]string{"Authorization", "Bearer " + one, "X-User-Id", "bob"}, "/acme/user", "user_mismatch"},
		"no user in the header":                 {[]string{"Authorization", "Bearer " + one, "X-User-Id", ""}, "/acme/user", "user_mismatch"},
		"a toolkit that is not in it":           {[]string{"Authorization", "Bearer " + one}, "/maps/x", "toolkit_not_allowed"},
		"the same by header":                    {[]string{"Authorization", "Bearer " + one, "X-Toolkit", "maps"}, "/x", "toolkit_not_allowed"},
		"an agent that is gone":                 {[]string{"Authorization", "Bearer " + dismissed}, "/acme/user", "unknown_agent"},
		"the agent of another tenant":           {[]string{"Authorization", "Bearer " + elsewhere}, "/acme/user", "unknown_agent"},
		"a user who is the agent's no more":     {[]string{"Authorization", "Bearer " + beyond}, "/weather/x", "user_mismatch"},
		"a toolkit that is the agent's no more": {[]string{"Authorization", "Bearer " + clerks}, "/acme/user", "toolkit_not_allowed"},
		"one that was taken back":               {[]string{"Authorization", "Bearer " + revoked}, "/acme/user", "session_revoked"},
		"a token that is not known":             {[]string{"Authorization", "Bearer tgs_x"}, "/acme/user", "session_revoked"},
		"two sessions":                          {[]string{"Authorization", "Bearer " + one, "X-Toolgate-Key", bobs}, "/acme/user", "conflicting_credentials"},
		"a session and the agent's key":         {[]string{"Authorization", "Bearer " + one, "X-Toolgate-Key", gatewaytest.AgentKey, "X-User-Id", "ada"}, "/acme/user", "conflicting_credentials"},
		"a session and a key of nobody's":       {[]string{"Authorization", "Bearer " + one, "X-Toolgate-Key", "nobodys-key"}, "/acme/user", "conflicting_credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.Provider.Calls()
			res, body := call(w, c.path, c.header...)
			if !strings.Contains(body, `"code":"`+c.code+`"`) || w.Provider.Calls() != before {
				t.Error(res.Status, body)
			}
			if strings.Contains(body, one) {
				t.Error("the answer holds the token")
			}
		})
	}
}

// Stripe's and Google's SDKs drop a path prefix, and the paths of some APIs begin with
// what may be the name of a toolkit.
func TestASessionForOneToolkitNeedsNoPrefixAndCutsNone(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	token := "Bearer " + w.Sessions.Add(adas("acme"))
	for path, want := range map[string]string{
		"/v1/charges":   "/api/v1/charges",
		"/acme/v1/x":    "/api/acme/v1/x",
		"/weather/v1/x": "/api/weather/v1/x",
		"/":             "/api/",
	} {
		if res, body := call(w, path, "Authorization", token); res.StatusCode != 200 {
			t.Fatal(path, res.Status, body)
		}
		if got := w.Provider.Last(t).URI; got != want {
			t.Errorf("%s went to %s", path, got)
		}
	}
	if res, body := call(w, "/acme@work/x", "Authorization", token); res.StatusCode != 400 {
		t.Error(res.Status, body)
	}
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", `<`+w.Provider.URL+`/api/weather/2>; rel="next"`)
	})
	res, _ := call(w, "/weather/1", "Authorization", token)
	if got := res.Header.Get("Link"); got != `<`+w.H1+`/weather/2>; rel="next"` {
		t.Error(got)
	}
}

func TestASessionThatIsToHaveNoLinksGetsNone(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	s := adas("acme")
	s.User, s.NoLinks = "bob", true
	res, body := call(w, "/user", "Authorization", "Bearer "+w.Sessions.Add(s))
	if res.StatusCode != 403 || !strings.Contains(body, `"code":"auth_required"`) || strings.Contains(body, "connect_url") || strings.Contains(body, "http") {
		t.Error(res.Status, body)
	}
	if !strings.Contains(body, "manage_connections is false") {
		t.Error("it does not say why there is no link:", body)
	}
	if len(w.Links.Asked()) != 0 {
		t.Error("a link was made")
	}
}

// Neither is the page of what is connected theirs, where the operator's app has its own.
func TestWhoGetsNoLinksIsToldOfNoPageEither(t *testing.T) {
	const page = "https://connect.example/connections"
	for name, c := range map[string]struct {
		session bool
		rights  []caller.Right
		told    bool
	}{
		"a session":                  {true, nil, false},
		"an agent that gets no link": {false, []caller.Right{caller.Call}, false},
		"an agent that gets links":   {false, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.ManageURL, cfg.Agents[0].Rights = page, c.rights }})
			w.Credentials.Fail(&connection.Unusable{Status: connection.Inactive, Reason: connection.SwitchedOff}, nil)
			r := w.Request("GET", w.H1+"/acme/user", nil)
			if c.session {
				s := adas("acme")
				s.NoLinks = true
				r, _ = http.NewRequest("GET", w.H1+"/user", nil)
				r.Header.Set("Authorization", "Bearer "+w.Sessions.Add(s))
			}
			res, body := w.Do(r)
			if res.StatusCode != 403 || !strings.Contains(body, "switched it off") || strings.Contains(body, page) != c.told {
				t.Errorf("%s %s", res.Status, body)
			}
		})
	}
}

func TestTheSessionsCallbackIsUsedWhereTheOperatorStillAllowsIt(t *testing.T) {
	for name, c := range map[string]struct{ allowed, header, want string }{
		"allowed":               {"https://app.example/done", "", "https://app.example/done"},
		"not any more":          {"https://app.example/other", "", ""},
		"the header says which": {"https://app.example/other", "https://app.example/other", "https://app.example/other"},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) { cfg.Agents[0].CallbackURLs = []string{c.allowed} }})
			s := adas("acme")
			s.User, s.CallbackURL = "bob", "https://app.example/done"
			header := []string{"Authorization", "Bearer " + w.Sessions.Add(s)}
			if c.header != "" {
				header = append(header, "X-Toolgate-Callback", c.header)
			}
			call(w, "/user", header...)
			if asked := w.Links.Asked(); len(asked) != 1 || asked[0].CallbackURL != c.want {
				t.Errorf("%+v", asked)
			}
		})
	}
}

func TestAStreamEndsWithItsSession(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	gone := make(chan struct{})
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = rw.Write([]byte("data: 1\n\n"))
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		close(gone)
	})
	s := adas("weather") // the operator's key: it is not the user's grant that ends it
	token := w.Sessions.Add(s)
	r, _ := http.NewRequest("GET", w.H1+"/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := w.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	gatewaytest.Hears(t, res.Body, "data: 1\n\n")
	w.Gateway.EndRevoked() // nobody's
	w.Sessions.Revoke(s.ID)
	w.Gateway.EndRevoked()
	if n, err := res.Body.Read(make([]byte, 1)); n > 0 || err == nil || err.Error() == "EOF" {
		t.Errorf("%d bytes, %v: the stream has to break off", n, err)
	}
	<-gone
}

// Before the stream is open, it is among those that are ended in nobody's list.
func TestNoStreamOpensInASessionThatWasTakenBackMeanwhile(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	s := adas("weather")
	token := w.Sessions.Add(s)
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		w.Sessions.Revoke(s.ID)
		w.Gateway.EndRevoked()
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = rw.Write([]byte("data: 1\n\n"))
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	r, _ := http.NewRequest("GET", w.H1+"/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := w.Client.Do(r)
	if err != nil {
		return // it was cut before anything came
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil || strings.Contains(string(body), "data") {
		t.Errorf("%q %v", body, err)
	}
}

// The agent's developer who sets the token in a header of their SDK's own must not send it
// to the provider.
func TestASessionsTokenGoesNowhere(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	token := w.Sessions.Add(adas("acme"))
	res, body := call(w, "/user?a=1&private_token="+token+"&b=2", "X-Toolgate-Key", token, "Private-Token", token, "X-Custom", `{"key":"`+token+`"}`, "X-Harmless", "tgs_ is a prefix")
	if res.StatusCode != 200 {
		t.Fatal(res.Status, body)
	}
	seen := w.Provider.Last(t)
	if seen.URI != "/api/user?a=1&b=2" || seen.Header["Private-Token"] != nil || seen.Header["X-Custom"] != nil || seen.Header.Get("X-Harmless") == "" {
		t.Errorf("%q %v", seen.URI, seen.Header)
	}
}
