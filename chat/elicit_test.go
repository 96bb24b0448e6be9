// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolgate/toolgate/chat"
)

var acmeAlone = args{"toolkits": []string{"acme"}}

func TestAClientThatCanShowsTheLinkAndIsToldWhenItWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var shown []*mcp.ElicitParams
		s := w.client(t, modern, "alice", func(p *mcp.ElicitParams) string {
			shown = append(shown, p)
			go func() {
				time.Sleep(4200 * time.Millisecond)
				w.stands("alice/acme", active(), true)
			}()
			return "accept"
		})
		began := time.Now()
		a := use(t, s, "get_authentication_link", acmeAlone)
		if a.Status != "fully_authenticated" || time.Since(began) != 4200*time.Millisecond {
			t.Errorf("after %v: %+v", time.Since(began), a)
		}
		if len(shown) != 1 || shown[0].Mode != "url" || shown[0].URL != public+"/connect/c_alice" || !strings.Contains(shown[0].Message, "Acme") {
			t.Errorf("%+v", shown)
		}
		_ = s.Close()
	})
}

func TestTheUserIsAskedOnce(t *testing.T) {
	for action, limit := range map[string]time.Duration{"accept": 25 * time.Second, "decline": 0, "cancel": 0} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				asked := 0
				s := w.client(t, modern, "alice", func(*mcp.ElicitParams) string { asked++; return action })
				began := time.Now()
				a := use(t, s, "get_authentication_link", acmeAlone)
				if took := time.Since(began); asked != 1 || a.Status != "authentication_needed" || a.ConnectURL == "" || took != limit {
					t.Errorf("asked %d times, after %v: %+v", asked, took, a)
				}
				_ = s.Close()
			})
		})
	}
}

func TestReconnectingIsOverWhenItWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.stands("alice/acme", active(), false)
		s := w.client(t, modern, "alice", func(*mcp.ElicitParams) string {
			go func() {
				time.Sleep(time.Second)
				w.stands("alice/acme", active(), true)
			}()
			return "accept"
		})
		began := time.Now()
		if a := use(t, s, "get_authentication_link", args{"toolkits": []string{"acme"}, "reconnect": true}); a.Status != "fully_authenticated" || time.Since(began) != time.Second {
			t.Errorf("after %v: %+v", time.Since(began), a)
		}
		_ = s.Close()
	})
}

const canURL = `{"elicitation":{"url":{}}}`

func TestWhoHasNotSaidThatItCanIsNotAsked(t *testing.T) {
	w := newWorld(t)
	for _, capabilities := range []string{`{}`, `{"elicitation":{}}`, `{"elicitation":{"form":{}}}`} {
		if text := w.postModern("get_authentication_link", `{}`, capabilities, ""); !strings.Contains(text, `"resultType":"complete"`) || !strings.Contains(text, "connect_url") || strings.Contains(text, "inputRequests") {
			t.Errorf("%s: %s", capabilities, text)
		}
	}
	// A client of the older revisions has said it elsewhere, or says it in a way that is not
	// of its revision: a server without sessions cannot ask it.
	for _, meta := range []string{`{}`, `{"io.modelcontextprotocol/clientCapabilities":` + canURL + `}`} {
		text := bodyOf(w.post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_authentication_link","arguments":{},"_meta":` + meta + `}}`))
		if !strings.Contains(text, "connect_url") || strings.Contains(text, "inputRequests") || strings.Contains(text, "-32042") || strings.Contains(text, `"error"`) {
			t.Errorf("%s: %s", meta, text)
		}
	}
}

// asked is the result that asks for input.
type asked struct {
	Result struct {
		ResultType    string
		RequestState  string
		InputRequests map[string]struct {
			Method string
			Params struct{ Mode, URL, Message string }
		}
	}
}

func (w *world) askedFor(t *testing.T, arguments string) asked {
	t.Helper()
	var a asked
	text := w.postModern("get_authentication_link", arguments, canURL, "")
	if err := json.Unmarshal([]byte(text), &a); err != nil || a.Result.ResultType != "input_required" || a.Result.RequestState == "" || a.Result.InputRequests["connect"].Method != "elicitation/create" {
		t.Fatalf("%s", text)
	}
	return a
}

func TestWhatAClientCarriesIsGoodForItsOwnCallAlone(t *testing.T) {
	now := time.Now()
	w := newWorld(t, func(c *chat.Config) { c.Now = func() time.Time { return now } })
	arguments := `{"toolkits":["acme"],"reconnect":false}`
	state := w.askedFor(t, arguments).Result.RequestState
	declined := func(state string) string {
		return `,"requestState":"` + state + `","inputResponses":{"connect":{"action":"decline"}}`
	}
	good := func(text string) bool {
		return strings.Contains(text, "connect_url") && strings.Contains(text, `"resultType":"complete"`)
	}
	if text := w.postModern("get_authentication_link", `{"reconnect":false,  "toolkits":["acme"]}`, canURL, declined(state)); !good(text) {
		t.Errorf("the same call in other spelling: %s", text)
	}
	flipped := []byte(state)
	flipped[len(flipped)/2] ^= 1
	for name, text := range map[string]string{
		"another user":      w.postModern("get_authentication_link", arguments, canURL, declined(state), "X-User-Id", "bob"),
		"another agent":     w.postModern("get_authentication_link", arguments, canURL, declined(state), "X-Toolgate-Key", "other"),
		"other arguments":   w.postModern("get_authentication_link", `{"toolkits":["beta"]}`, canURL, declined(state)),
		"one that is ours?": w.postModern("get_authentication_link", arguments, canURL, declined(string(flipped))),
		"no base64":         w.postModern("get_authentication_link", arguments, canURL, declined("!!")),
		"a short one":       w.postModern("get_authentication_link", arguments, canURL, declined("AA")),
	} {
		if !strings.Contains(text, `"code":-32602`) || strings.Contains(text, "connect_url") {
			t.Errorf("%s: %s", name, text)
		}
	}
	// One that is too old is no reason to wait, nor to ask again.
	now = now.Add(11 * time.Minute)
	accepted := strings.Replace(declined(state), "decline", "accept", 1)
	began := time.Now()
	if text := w.postModern("get_authentication_link", arguments, canURL, accepted); !good(text) || time.Since(began) > 10*time.Second {
		t.Errorf("%s", text)
	}
	if strings.Contains(state, "alice") || strings.Contains(state, "connect") {
		t.Error("it can be read")
	}
}

func TestAnAnswerToNoQuestionIsNotAskedForAgain(t *testing.T) {
	w := newWorld(t)
	state := w.askedFor(t, `{}`).Result.RequestState
	for _, more := range []string{`,"inputResponses":{"connect":{"action":"accept"}}`, `,"requestState":"` + state + `"`, `,"requestState":"` + state + `","inputResponses":{"other":{"action":"accept"}}`} {
		text := w.postModern("get_authentication_link", `{}`, canURL, more)
		if !strings.Contains(text, "connect_url") || strings.Contains(text, "inputRequests") {
			t.Errorf("%s", text)
		}
	}
}
