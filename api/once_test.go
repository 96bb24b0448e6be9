// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/session"
)

const again = "Idempotency-Key"

func TestAKeyIsForOneRequestOfOneAgent(t *testing.T) {
	w := newWorld(t)
	first := w.session(`{"user":"ada"}`, again, "k")
	if other := w.session(`{"user":"ada"}`, again, "k"); other.ID != first.ID || other.Token != first.Token {
		t.Errorf("%+v, then %+v", first, other)
	}
	for name, body := range map[string]string{"another user": `{"user":"bob"}`, "another field": `{"user":"ada","expires_in":60}`, "another spelling": `{"user": "ada"}`} {
		t.Run(name, func(t *testing.T) {
			if body := refused(t, w.ask("POST", "sessions", body, again, "k"), 422, "bad_request"); !strings.Contains(body, "another request") {
				t.Error(body)
			}
		})
	}
	// Another agent's keys are its own.
	if other := w.session(`{"user":"ada"}`, again, "k", "Authorization", "Bearer clerk"); other.ID == first.ID {
		t.Error("one agent got another one's session")
	}
	for name, key := range map[string]string{"none": "", "a long one": strings.Repeat("k", 256)} {
		t.Run(name, func(t *testing.T) {
			refused(t, w.ask("POST", "sessions", `{"user":"ada"}`, again, key), http.StatusBadRequest, "bad_request")
		})
	}
	r := httptest.NewRequest("POST", "https://connect.example/base/v1/sessions", strings.NewReader(`{"user":"ada"}`))
	r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer bot"}, again: {"k", "l"}}
	answer := httptest.NewRecorder()
	w.service.ServeHTTP(answer, r)
	refused(t, answer, http.StatusBadRequest, "bad_request")
}

// Both found nothing before they made a session each. One of the two is nobody's then.
func TestOfTwoThatComeAtOnceBothGetTheSameSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		both := make(chan struct{})
		var arrived sync.WaitGroup
		arrived.Add(2)
		go func() { arrived.Wait(); close(both) }()
		w.vault.saving = func(name string) {
			if strings.HasPrefix(name, "once/") {
				arrived.Done()
				<-both
			}
		}
		answers := make([]*httptest.ResponseRecorder, 2)
		var calls sync.WaitGroup
		for i := range answers {
			calls.Go(func() { answers[i] = w.ask("POST", "sessions", `{"user":"ada"}`, again, "k") })
		}
		calls.Wait()
		one, two := answers[0].Body.String(), answers[1].Body.String()
		if answers[0].Code != http.StatusCreated || answers[1].Code != http.StatusCreated || one != two {
			t.Errorf("%d %s\n%d %s", answers[0].Code, one, answers[1].Code, two)
		}
	})
}

func TestOfTwoRequestsWithOneKeyAtOnceOneIsRefused(t *testing.T) {
	w := newWorld(t)
	nested := false
	w.vault.saving = func(name string) {
		if !nested && strings.HasPrefix(name, "once/") {
			nested = true
			w.session(`{"user":"bob"}`, again, "k") // is faster
		}
	}
	refused(t, w.ask("POST", "sessions", `{"user":"ada"}`, again, "k"), 422, "bad_request")
}

func TestAKeyIsGoodForAsLongAsItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.session(`{"user":"ada","expires_in":60}`, again, "k")
		time.Sleep(61 * time.Second)
		second := w.session(`{"user":"ada","expires_in":60}`, again, "k")
		if second.ID == first.ID {
			t.Error("a session that is over was given again")
		}
		if _, err := w.desk.Open(second.Token); err != nil {
			t.Error(err)
		}
	})
}

func TestAStoreThatIsAwayIsNoRefusal(t *testing.T) {
	w := newWorld(t)
	w.vault.goAway(true)
	for name, answer := range map[string]*httptest.ResponseRecorder{
		"once":         w.ask("POST", "sessions", `{"user":"ada"}`, again, "k"),
		"one taken":    w.ask("DELETE", "sessions/"+strings.Repeat("A", 26), ""),
		"a user's all": w.ask("POST", "sessions/revoke", `{"user":"ada"}`),
	} {
		refused(t, answer, http.StatusServiceUnavailable, "storage_unavailable")
		if answer.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %v", name, answer.Header())
		}
	}
	if w.ended != 0 {
		t.Error("it said that sessions are over")
	}
	// Where it goes away between looking and saving, nobody gets a token that another
	// gateway would not give again.
	w.vault.goAway(false)
	w.vault.saving = func(string) { w.vault.goAway(true) }
	w.ask("POST", "sessions", `{"user":"ada"}`, again, "k")
	w.vault.saving = nil
	refused(t, w.ask("POST", "sessions", `{"user":"ada"}`, again, "k"), http.StatusServiceUnavailable, "storage_unavailable")
	w.vault.goAway(false)
	w.session(`{"user":"ada"}`, again, "k2")
}

func TestWhatCannotBeRecordedIsNotDone(t *testing.T) {
	w := newWorld(t)
	m := w.session(`{"user":"ada"}`)
	w.audit.full = true
	for _, answer := range []*httptest.ResponseRecorder{
		w.ask("POST", "sessions", `{"user":"ada"}`),
		w.ask("POST", "sessions", `{"user":"ada"}`, again, "k"),
		w.ask("DELETE", "sessions/"+m.ID, ""),
		w.ask("POST", "sessions/revoke", `{"user":"ada"}`),
	} {
		refused(t, answer, http.StatusServiceUnavailable, "audit_unavailable")
	}
	if _, err := w.desk.Open(m.Token); err != nil || w.ended != 0 {
		t.Error(err, w.ended)
	}
	w.audit.full = false
	first := w.session(`{"user":"ada"}`, again, "k") // nothing was kept of the one that failed
	if _, err := w.desk.Open(first.Token); err != nil {
		t.Error(err)
	}
	for _, r := range w.audit.all {
		if r.Event != audit.SessionMade || r.Agent != "bot" || r.User != "ada" || len(r.Session) != 26 {
			t.Errorf("%+v", r)
		}
	}
}

func TestTheLogKnowsWhoAskedAndNoToken(t *testing.T) {
	w := newWorld(t)
	m := w.session(`{"user":"ada"}`)
	w.ask("DELETE", "sessions/"+m.Token, "")
	w.ask("DELETE", "sessions/"+m.ID, "")
	w.ask("POST", "sessions/revoke", `{"user":"ada"}`)
	var what []string
	for _, e := range w.events {
		what = append(what, e.What+"/"+e.Caller.Agent+"/"+e.Caller.User+"/"+string(e.Code))
	}
	if got := strings.Join(what, " "); got != "session_made/bot/ada/ refused/bot//not_found session_ended/bot// sessions_ended/bot/ada/" {
		t.Error(got)
	}
	if w.ended != 2 {
		t.Error(w.ended)
	}
}

// Who signs out at one gateway and in again at another a moment later has a session.
func TestASessionIsBehindWhatWasTakenBackElsewhere(t *testing.T) {
	w := newWorld(t)
	w.session(`{"user":"ada"}`)
	elsewhere := session.NewRevocations(w.vault, time.Now)
	if err := elsewhere.RevokeUser(t.Context(), "default", "ada"); err != nil {
		t.Fatal(err)
	}
	fresh := w.session(`{"user":"ada"}`)
	if _, err := w.revoked.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.desk.Open(fresh.Token); err != nil {
		t.Error(err)
	}
}
