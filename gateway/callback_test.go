// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

const callbackURL = "https://app.example/connected?from=chat"

func mayCallBack(cfg *gateway.Config) {
	if len(cfg.Agents) > 0 {
		cfg.Agents[0].CallbackURLs = []string{"https://app.example/other", callbackURL}
	}
}

func TestAnAgentSaysWhereItsUserGoesAfterConnecting(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Edit: mayCallBack})
	r := w.Request("GET", w.H1+"/acme/user", nil)
	r.Header.Set("X-User-Id", "bob")
	r.Header.Set("X-Toolgate-Callback", callbackURL)
	res, body := w.Do(r)
	refused(t, w, res, body, verdict{403, "auth_required", "authorize", "no_connection"})
	if asked := w.Links.Asked(); len(asked) != 1 || asked[0].CallbackURL != callbackURL {
		t.Errorf("links were asked for with %+v", asked)
	}
	nothingLeft(t, w)
}

func TestAnAddressThatIsNotOnTheListIsRefusedOnEveryCall(t *testing.T) {
	for _, local := range []bool{false, true} {
		for _, address := range []string{
			"", "https://evil.example/", callbackURL + "&x", "HTTPS://app.example/connected?from=chat", "https://app.example/connected", "https://app.example/connected?from=chat#",
			"https://app.example/other/", "https://app.example/other/../connected", "https://app.example:443/other", "https://app.example/other ,https://evil.example",
		} {
			w := gatewaytest.New(t, gatewaytest.Options{Edit: mayCallBack, Local: local})
			r := w.Request("GET", w.H1+"/acme/user", nil) // of ada, who is connected
			r.Header.Set("X-Toolgate-Callback", address)
			res, body := w.Do(r)
			got := refused(t, w, res, body, verdict{400, "bad_request", "identify", "callback_urls"})
			if !strings.Contains(got.Detail, "callback_urls") || address != "" && strings.Contains(body, address) {
				t.Errorf("%q: %s", address, body)
			}
			nothingLeft(t, w)
		}
	}
}

func TestTheListIsEachAgentsOwn(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Edit: mayCallBack})
	r := w.Request("GET", w.H1+"/weather/today", nil)
	r.Header.Set("X-Toolgate-Key", gatewaytest.OtherKey)
	r.Header.Set("X-Toolgate-Callback", callbackURL)
	res, body := w.Do(r)
	refused(t, w, res, body, verdict{400, "bad_request", "identify", "callback_urls"})
}

func TestTheAddressComesOnceAndStaysHere(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Edit: mayCallBack})
	r := w.Request("GET", w.H1+"/acme/user", nil)
	r.Header["X-Toolgate-Callback"] = []string{callbackURL, callbackURL}
	res, body := w.Do(r)
	refused(t, w, res, body, verdict{400, "duplicate_header", "identify", "x-toolgate-callback"})
	nothingLeft(t, w)

	r = w.Request("GET", w.H1+"/acme/user", nil)
	r.Header.Set("X-Toolgate-Callback", callbackURL)
	if res, body := w.Do(r); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	for name, values := range w.Provider.Last(t).Header {
		if strings.Contains(name+strings.Join(values, ""), "allback") || strings.Contains(strings.Join(values, ""), "app.example") {
			t.Errorf("the provider sees %s: %q", name, values)
		}
	}
}
