// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"net/http"
	"testing"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

func mounted(t *testing.T, m gateway.Mount) *gatewaytest.World {
	return gatewaytest.New(t, gatewaytest.Options{Handler: func(h http.Handler) http.Handler { return h.(*gateway.Gateway).At(m) }})
}

func TestAPinnedSiteServesItsToolkitOnly(t *testing.T) {
	w := mounted(t, gateway.Mount{Toolkit: "acme"})
	w.Get("/weather/today") // a path of acme's
	if uri := w.Provider.Last(t).URI; uri != "/api/weather/today" {
		t.Errorf("sent to %s", uri)
	}
	w.Event()
	r := w.Request("GET", w.H1+"/x", nil)
	r.Header.Set("X-Toolkit", "weather")
	res, body := w.Do(r)
	refused(t, w, res, body, verdict{400, "ambiguous_toolkit", "resolve", "selectors"})
	if w.Provider.Calls() != 1 {
		t.Error("the refused call was sent")
	}
}

func TestAHostMaySelect(t *testing.T) {
	for _, c := range []struct{ host, toolkit, path, wantURI string }{
		{"open.gw.example.com", "", "/weather/x", "/api/weather/x"},
		{"OPEN.GW.example.com.:8443", "", "/x", "/api/x"},
		{"open.gw.example.com", "open", "/open/x", "/api/open/x"},
		{"gw.example.com", "", "/open/x", "/api/x"},
		{"a.open.gw.example.com", "", "/open/x", "/api/x"},
		{"open.other.example", "", "/open/x", "/api/x"},
	} {
		w := mounted(t, gateway.Mount{Hosts: []string{"*.gw.example.com", "*.localhost"}})
		r := w.Request("GET", w.H1+c.path, nil)
		r.Host = c.host
		if c.toolkit != "" {
			r.Header.Set("X-Toolkit", c.toolkit)
		}
		if res, body := w.Do(r); res.StatusCode != 200 || w.Provider.Last(t).URI != c.wantURI {
			t.Errorf("%s%s: %s %s", c.host, c.path, res.Status, body)
		}
	}
}

func TestAHostThatNamesNoToolkitSelectsNone(t *testing.T) {
	for host, want := range map[string]verdict{
		"nope.gw.example.com":  {404, "unknown_toolkit", "resolve", "toolkit"},
		".gw.example.com":      {404, "unknown_toolkit", "resolve", "toolkit"}, // the path's "x"
		"draft.gw.example.com": {503, "toolkit_draft", "resolve", "draft"},
	} {
		w := mounted(t, gateway.Mount{Hosts: []string{"*.gw.example.com"}})
		r := w.Request("GET", w.H1+"/x", nil)
		r.Host = host
		res, body := w.Do(r)
		refused(t, w, res, body, want)
		nothingLeft(t, w)
	}
	w := mounted(t, gateway.Mount{Hosts: []string{"*.gw.example.com"}})
	r := w.Request("GET", w.H1+"/x", nil)
	r.Host = "open.gw.example.com"
	r.Header.Set("X-Toolkit", "acme")
	res, body := w.Do(r)
	refused(t, w, res, body, verdict{400, "ambiguous_toolkit", "resolve", "selectors"})
	nothingLeft(t, w)
}

func TestPatternsOfHostsAreChecked(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"*.gw.example.com": true, "*.localhost": true, "gw.example.com": false, "*.": false, "*": false, "*.*.example.com": false, "*.gw.example.com:443": false, "": false,
	} {
		if err := (gateway.Mount{Hosts: []string{pattern}}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}
