// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

// slack is a world whose toolkit says with 200 that a token is no good, as Slack does.
func slack(t *testing.T, answer http.HandlerFunc) *gatewaytest.World {
	t.Helper()
	w := gatewaytest.New(t, gatewaytest.Options{Acme: func(tk *toolkit.Toolkit) {
		tk.Auth.Refused = &toolkit.Sign{Status: 200, Field: "error", Values: []string{"token_expired", "invalid_auth"}}
	}})
	w.Provider.Handle(answer)
	return w
}

const tokenExpired = `{"ok":false,"error":"token_expired"}`

// says answers with JSON, the second token with another one.
func says(first, second string, header ...string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json; charset=utf-8")
		for i := 0; i < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		text := first
		if gatewaytest.Token(r) != gatewaytest.UserToken {
			text = second
		}
		_, _ = io.WriteString(rw, text)
	}
}

func packed(text string) string {
	var b bytes.Buffer
	to := gzip.NewWriter(&b)
	_, _ = io.WriteString(to, text)
	_ = to.Close()
	return b.String()
}

func TestTheToolkitsOwnSignIsA401(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"plain":     says(tokenExpired, `{"ok":true}`),
		"packed":    says(packed(tokenExpired), packed(`{"ok":true}`), "Content-Encoding", "gzip"),
		"in chunks": chunked(says(tokenExpired, `{"ok":true}`)),
	} {
		w := slack(t, answer)
		r := w.Request("POST", w.H1+"/acme/chat.postMessage", strings.NewReader("the message"))
		r.Header.Set("Accept-Encoding", "br, gzip;q=0.5")
		res, body := w.Do(r)
		if res.Header.Get("Content-Encoding") == "gzip" {
			from, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			plain, _ := io.ReadAll(from)
			body = string(plain)
		}
		renewals, _, _ := w.Credentials.Counts()
		if res.StatusCode != 200 || body != `{"ok":true}` || renewals != 1 || w.Provider.Calls() != 2 {
			t.Errorf("%s: %s %q after %d renewals, %d calls", name, res.Status, body, renewals, w.Provider.Calls())
		}
		if got := w.Provider.Last(t).Header["Accept-Encoding"]; fmt.Sprint(got) != "[gzip]" {
			t.Errorf("%s: the provider may pack as it likes: %q", name, got)
		}
	}
}

// chunked sends what it is given in a piece of its own, so that no length is known.
func chunked(h http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.(http.Flusher).Flush()
		h(rw, r)
	}
}

func TestTheToolkitsOwnSignTwiceAsksTheUser(t *testing.T) {
	w := slack(t, says(tokenExpired, `{"ok":false,"error":"invalid_auth"}`))
	res, body := w.Get("/acme/auth.test")
	if _, _, rejected := w.Credentials.Counts(); res.StatusCode != 403 || !strings.Contains(body, "provider_rejected_token") || len(rejected) != 1 {
		t.Errorf("%s %s, rejected %v", res.Status, body, rejected)
	}
}

// Whatever else such a toolkit answers comes as it is, byte for byte.
func TestAnswersWithoutTheSignComeAsTheyAre(t *testing.T) {
	large := `{"error":"token_expired","padding":"` + strings.Repeat("x", 20_000) + `"}`
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"another error":           {says(`{"ok":false,"error":"channel_not_found"}`, ""), `{"ok":false,"error":"channel_not_found"}`},
		"a field that is no text": {says(`{"ok":false,"error":{"token_expired":1}}`, ""), `{"ok":false,"error":{"token_expired":1}}`},
		"no object":               {says(`["token_expired"]`, ""), `["token_expired"]`},
		"not JSON after all":      {says(`token_expired`, ""), `token_expired`},
		"nothing":                 {says(``, ""), ``},
		"large":                   {says(large, ""), large},
		"large, in chunks":        {chunked(says(large, "")), large},
		"packed in another way":   {says(tokenExpired, "", "Content-Encoding", "br"), tokenExpired},
		"packed wrongly":          {says(tokenExpired, "", "Content-Encoding", "gzip"), tokenExpired},
		"not said to be JSON":     {says(tokenExpired, "", "Content-Type", "text/plain"), tokenExpired},
		"another status": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(400)
			_, _ = io.WriteString(rw, tokenExpired)
		}, tokenExpired},
	} {
		w := slack(t, c.answer)
		r := w.Request("GET", w.H1+"/acme/x", nil)
		r.Header.Set("Accept-Encoding", "gzip") // else the client unpacks, or tries
		_, body := w.Do(r)
		if renewals, _, _ := w.Credentials.Counts(); body != c.want || renewals != 0 {
			t.Errorf("%s: %d bytes in place of %d, %d renewals", name, len(body), len(c.want), renewals)
		}
	}
}

func TestAnAnswerThatBreaksOffIsBrokenAlsoWhereItIsLookedInto(t *testing.T) {
	w := slack(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(rw, tokenExpired)
		rw.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("half an answer looks whole: %q", body)
	}
}

// What streams is no small JSON, and does not wait.
func TestAStreamOfSuchAToolkitDoesNotWait(t *testing.T) {
	first := gatewaytest.NewGate(t)
	w := slack(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: 1\n\n")
		rw.(http.Flusher).Flush()
		first.Wait()
	})
	res, err := w.Client.Do(w.Request("GET", w.H1+"/acme/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line := make([]byte, 9)
	if _, err := io.ReadFull(res.Body, line); err != nil || string(line) != "data: 1\n\n" {
		t.Errorf("%q, %v", line, err)
	}
	first.Open()
}
