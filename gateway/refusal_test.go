// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/problem"
)

// refusal is an answer's body, as far as tests look at it.
type refusal struct {
	Type, Title, Detail, Message string
	Status                       int
	Code                         problem.Code
	Step, Rule                   string
	Error                        struct {
		Type, Code problem.Code
		Message    string
	}
	Toolkit      *struct{ ID, Name string }
	User         string
	Connection   *struct{ Status, Reason string }
	ConnectURL   string `json:"connect_url"`
	ExpiresAt    string `json:"expires_at"`
	StatusURL    string `json:"status_url"`
	Instructions string
	RequestID    string `json:"request_id"`
	Retry        struct {
		When        string
		SameRequest bool `json:"same_request"`
	}
}

func parseRefusal(t *testing.T, body string) refusal {
	t.Helper()
	var r refusal
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("the refusal is no JSON: %v\n%s", err, body)
	}
	return r
}

// verdict is what a refusal says, in one line.
type verdict struct {
	status     int
	code       problem.Code
	step, rule string
}

func (v verdict) String() string { return fmt.Sprintf("%d %s %s/%s", v.status, v.code, v.step, v.rule) }

// refused checks a refusal in the answer, in its body and in the event.
func refused(t *testing.T, w *gatewaytest.World, res *http.Response, body string, want verdict) refusal {
	t.Helper()
	r := parseRefusal(t, body)
	if got := (verdict{res.StatusCode, r.Code, r.Step, r.Rule}); got != want {
		t.Errorf("refused with %v, want %v\n%s", got, want, body)
	}
	if r.Status != res.StatusCode || r.Error.Code != r.Code || r.Error.Message != r.Detail || r.Message != r.Detail || r.Detail == "" {
		t.Errorf("the refusal contradicts itself: %s", body)
	}
	if r.RequestID == "" || res.Header.Get("X-Toolgate-Request-Id") != r.RequestID {
		t.Errorf("the refusal's id is %q in the body and %q in the header", r.RequestID, res.Header.Get("X-Toolgate-Request-Id"))
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a refusal may be cached: %v", res.Header)
	}
	e := w.Event()
	if got := (verdict{e.Status, e.Code, e.Step, e.Rule}); got != want || e.RequestID != r.RequestID {
		t.Errorf("the event says %v, want %v", got, want)
	}
	return r
}

// nothingLeft checks that the provider has heard of nothing.
func nothingLeft(t *testing.T, w *gatewaytest.World) {
	t.Helper()
	if seen := w.Provider.Seen(); len(seen) > 0 {
		t.Errorf("something was sent to the provider: %+v", seen)
	}
	for _, line := range w.Audit.Lines() {
		if line.Event == audit.Call {
			t.Errorf("the audit says that a call left: %+v", line)
		}
	}
}
