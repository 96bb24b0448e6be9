// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/problem"
)

var quietLog = log.New(io.Discard, "", 0)

// everyVerb prints an event in the ways that a careless log would, with the whole
// chain of its error.
func everyVerb(e gateway.Event) string {
	text := fmt.Sprintf("%v %+v %#v", e, e, e)
	for err := e.Err; err != nil; err = errors.Unwrap(err) {
		text += fmt.Sprintf(" %v %+v %#v", err, err, err)
	}
	return text
}

// noSecret: every secret of a world has "marker" in it, or is one of these.
func noSecret(t *testing.T, where, text string) {
	t.Helper()
	for _, hint := range []string{"marker", "Ym9va3M6bWFya2Vy", "6d61726b6572"} {
		if at := strings.Index(text, hint); at >= 0 {
			t.Errorf("%s: a secret came out: …%s…", where, text[max(0, at-80):min(len(text), at+80)])
		}
	}
}

// A provider that shows all it knows, in every place, and an agent that tries all.
func TestNoSecretComesOutAnywhere(t *testing.T) {
	chatty := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			all := r.RequestURI + " " + strings.Join(r.Header["Authorization"], " ") + " " + strings.Join(r.Header["X-Weather-Key"], " ")
			if user, password, ok := r.BasicAuth(); ok {
				all += " " + user + " " + password
			}
			for _, name := range []string{"X-Echo", "Location", "Www-Authenticate", "Link", "Set-Cookie", "Content-Location", "Proxy-Status"} {
				w.Header().Set(name, all)
			}
			w.Header().Set("Trailer", "X-Trailer")
			if status == 200 {
				w.WriteHeader(103)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<"+all+">")
			w.Header().Set("X-Trailer", all)
		}
	}
	scenarios := map[string]func(*gatewaytest.World){
		"an echo":       func(w *gatewaytest.World) { w.Provider.Handle(chatty(200)) },
		"a redirect":    func(w *gatewaytest.World) { w.Provider.Handle(chatty(302)) },
		"a 401":         func(w *gatewaytest.World) { w.Provider.Handle(chatty(401)) },
		"a 407":         func(w *gatewaytest.World) { w.Provider.Handle(chatty(407)) },
		"a 500":         func(w *gatewaytest.World) { w.Provider.Handle(chatty(500)) },
		"a broken body": func(w *gatewaytest.World) { w.Provider.Handle(breaking(chatty(200))) },
		"no audit":      func(w *gatewaytest.World) { w.Audit.Fail(errors.New("disk full")) },
		"no links":      func(w *gatewaytest.World) { w.Links.Fail(problem.New(problem.StorageUnavailable, "store", "Later.")) },
		"no renewal": func(w *gatewaytest.World) {
			w.Provider.Handle(chatty(401))
			w.Credentials.Fail(nil, errors.New("later"))
		},
	}
	for name, arrange := range scenarios {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, gatewaytest.Options{})
			arrange(w)
			for _, path := range []string{"/acme/x", "/acme/~files/x", "/weather/x", "/maps/x?key=mine", "/ledger/x", "/open/x", "/draft/x", "/nope/x", "/acme/../x"} {
				for user, header := range map[string]http.Header{
					"ada": nil, "bob": nil, "a b": nil,
					"eve": {"Authorization": {"Bearer " + gatewaytest.OtherKey}},
					"ian": {"X-Toolgate-Key": {gatewaytest.OtherKey}},
				} {
					sweep(t, w, path, user, header)
				}
			}
			audit, err := json.Marshal(w.Audit.Lines())
			if err != nil {
				t.Fatal(err)
			}
			noSecret(t, "the audit", fmt.Sprintf("%s %+v", audit, w.Audit.Lines()))
		})
	}
}

func breaking(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		panic(http.ErrAbortHandler)
	}
}

func sweep(t *testing.T, w *gatewaytest.World, path, user string, header http.Header) {
	t.Helper()
	r := w.Request("POST", w.H1+"/", strings.NewReader("body"))
	r.URL.Opaque = path
	r.Header.Set("X-User-Id", user)
	for name, values := range header {
		r.Header[name] = values
	}
	res, err := w.Client.Do(r)
	if err == nil {
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		noSecret(t, path+" for "+user, fmt.Sprintf("%v %v %s", res.Header, res.Trailer, body))
	}
	e := w.Event()
	text := everyVerb(e)
	noSecret(t, "the event of "+path+" for "+user, text)
	if strings.Contains(text, "lnk_") {
		t.Errorf("the event of %s for %s holds the connect link: %s", path, user, text)
	}
	if e.RequestID == "" || e.Status == 0 || e.Method != "POST" || e.Step == "" {
		t.Errorf("the event of %s for %s says too little: %+v", path, user, e)
	}
}

func TestAnEventSaysWhatHappened(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Get("/acme/x")
	e := w.Event()
	if e.Caller.User != "ada" || e.Toolkit != "acme" || e.Method != "GET" || e.Status != 200 || e.Code != "" || e.Rule != "" || e.Renewed || e.Bytes != 2 || e.Took <= 0 || e.Err != nil {
		t.Errorf("event %+v", e)
	}
}
