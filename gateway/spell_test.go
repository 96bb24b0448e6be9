// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

// The operator's key, as servers of several languages write it.
var spellings = map[string]string{
	"as it is":                    gatewaytest.OperatorKey, // sk-marker-operator+key/=
	"JSON by PHP":                 strings.ReplaceAll(gatewaytest.OperatorKey, "/", `\/`),
	"JSON by .NET":                strings.ReplaceAll(gatewaytest.OperatorKey, "+", `\u002B`),
	"JSON, + in small letters":    strings.ReplaceAll(gatewaytest.OperatorKey, "+", `\u002b`),
	"JSON by Gson":                strings.ReplaceAll(gatewaytest.OperatorKey, "=", `\u003d`),
	"a query":                     url.QueryEscape(gatewaytest.OperatorKey),
	"a query, / and = left alone": strings.ReplaceAll(gatewaytest.OperatorKey, "+", "%2B"),
	"a query, in small letters":   "sk-marker-operator%2bkey%2f%3d",
	"a path":                      url.PathEscape(gatewaytest.OperatorKey),
}

func TestTheOperatorsKeyIsMaskedHoweverItIsSpelled(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for name, said := range spellings {
		for _, toolkit := range []string{"maps", "weather"} {
			w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("X-Echo", said)
				fmt.Fprintf(rw, `{"key": "%s"}`, said)
			})
			res, body := w.Get("/" + toolkit + "/x")
			if strings.Contains(body, "marker") || strings.Contains(res.Header.Get("X-Echo"), "marker") {
				t.Errorf("%s, %s: the agent got %s, %s", name, toolkit, body, res.Header.Get("X-Echo"))
			}
		}
	}
}

// Nothing can know all spellings beforehand, but an address can be read.
func TestAnAddressThatHoldsTheKeyHoweverEscapedLeadsNowhere(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Edit: func(cfg *gateway.Config) {
		e := cfg.Toolkits["maps"]
		e.Toolkit.RedirectHosts = []toolkit.HostPattern{"downloads.test"}
		e.Redirects = seeing(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.String(), "marker") || strings.Contains(r.URL.Query().Get("key"), "marker") {
				t.Errorf("the gateway itself calls %s", r.URL)
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})
		cfg.Toolkits["maps"] = e
	}})
	for _, said := range []string{"sk%2Dmarker-operator%2Bkey%2f=", "%73k-marker-operator+key%2F%3D", "sk%252Dmarker-operator%252Bkey%252f=", "%zz&sk%2Dmarker-operator%2Bkey%2f=", "sk-marker-operator%2Bkey/="} {
		for _, host := range []string{"http://downloads.test", "http://elsewhere.test", w.Provider.URL + "/api"} {
			w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header()["Location"] = []string{host + "/x?key=" + said}
				rw.WriteHeader(http.StatusFound)
			})
			res, _ := w.Get("/maps/x")
			if got := res.Header.Get("Location"); got != "about:blank" && !strings.Contains(got, "****") || strings.Contains(got, "marker") {
				t.Errorf("%s: %s is passed on as %q", host, said, got)
			}
		}
	}
}

func TestTheAgentsKeyInAQueryStaysHere(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	for query, want := range map[string]string{
		"?key=" + gatewaytest.AgentKey: "", "?a=1&key=" + gatewaytest.AgentKey + "&b=%2f": "?a=1&b=%2f",
		"?a=1&key=tgk%5Fmarker%2Dagent-key": "?a=1", "?a=%zz&b=c+d&&e": "?a=%zz&b=c+d&&e",
	} {
		w.Do(w.Request("GET", w.H1+"/acme/x"+query, nil))
		if got := w.Provider.Last(t).URI; got != "/api/x"+want {
			t.Errorf("%s arrived as %s", query, got)
		}
	}
}

// Two readers of two lengths find two answers in one.
func TestALengthIsSaidOnceOrNotAtAll(t *testing.T) {
	for name, c := range map[string]struct {
		said   []string
		parsed int64
		status int
		want   string
	}{
		"one":            {[]string{"5"}, 5, 200, "5"},
		"two":            {[]string{"5", "500"}, -1, 200, ""},
		"a plus":         {[]string{"+5"}, -1, 200, ""},
		"zeros":          {[]string{"005"}, 5, 200, "5"},
		"beside no body": {[]string{"5"}, 5, 204, ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			w := gatewaytest.New(t, reaching(seeing(func(r *http.Request) (*http.Response, error) {
				body := "hello"
				if method == "HEAD" || c.status == 204 {
					body = ""
				}
				return &http.Response{StatusCode: c.status, Header: http.Header{"Content-Length": c.said}, ContentLength: c.parsed, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
			})))
			conn := w.Dial()
			fmt.Fprintf(conn, "%s /acme/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n%sX-User-Id: ada\r\n\r\n", method, proof)
			answer, err := io.ReadAll(conn)
			head, _, _ := strings.Cut(string(answer), "\r\n\r\n")
			var said []string
			for line := range strings.SplitSeq(head, "\r\n") {
				if length, is := strings.CutPrefix(line, "Content-Length: "); is {
					said = append(said, length)
				}
			}
			if got := strings.Join(said, ", "); got != c.want || err != nil {
				t.Errorf("%s, %s: said %q, %v", name, method, got, err)
			}
		}
	}
}
