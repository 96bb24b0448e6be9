// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
)

// everyWay runs a test for HTTP/1.1 and HTTP/2, on either side of the gateway.
func everyWay(t *testing.T, test func(t *testing.T, w *gatewaytest.World, address string)) {
	for _, overTLS := range []bool{false, true} {
		for _, agent := range []string{"h1", "h2"} {
			provider := map[bool]string{false: "h1", true: "h2"}[overTLS]
			t.Run(agent+" to "+provider, func(t *testing.T) {
				w := gatewaytest.New(t, gatewaytest.Options{TLS: overTLS})
				test(t, w, map[string]string{"h1": w.H1, "h2": w.H2}[agent])
			})
		}
	}
}

func TestRedirectsAreRelayedAndNotFollowed(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		for _, status := range []int{301, 302, 303, 307, 308} {
			before := w.Provider.Calls()
			w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Location", "https://storage.example.net/signed")
				rw.WriteHeader(status)
			})
			res, _ := w.Do(w.Request("GET", address+"/acme/file", nil))
			if res.StatusCode != status || res.Header.Get("Location") != "https://storage.example.net/signed" || w.Provider.Calls() != before+1 {
				t.Errorf("%d became %d to %q, with %d calls", status, res.StatusCode, res.Header.Get("Location"), w.Provider.Calls()-before)
			}
		}
	})
}

func TestWhatIsAboutTheProvidersSiteStaysThere(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		dropped := []string{
			"Set-Cookie", "Set-Cookie2", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Www-Authenticate", "Public-Key-Pins",
			"Nel", "Report-To", "Reporting-Endpoints", "Cdn-Cache-Control", "Surrogate-Control", "Proxy-Authenticate", "X-Toolgate-Request-Id", "X-Toolgate-Other",
		}
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			for _, name := range dropped {
				rw.Header().Set(name, "providers-own")
			}
			rw.Header().Set("Etag", `"1"`)
			rw.Header().Add("Vary", "a")
			rw.Header().Add("Vary", "b")
			rw.WriteHeader(418)
		})
		res, _ := w.Do(w.Request("GET", address+"/acme/x", nil))
		for name, values := range res.Header {
			if values[0] == "providers-own" {
				t.Errorf("%s was passed on", name)
			}
		}
		if res.StatusCode != 418 || res.Header.Get("Etag") != `"1"` || !reflect.DeepEqual(res.Header["Vary"], []string{"a", "b"}) || res.Header.Get("X-Toolgate-Request-Id") == "" {
			t.Errorf("answered %d %v", res.StatusCode, res.Header)
		}
	})
}

func TestWhatTheProvidersConnectionNamesStaysOnIt(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "X-Hop, keep-alive")
		rw.Header().Set("X-Hop", "1")
		rw.Header().Set("Keep-Alive", "timeout=5")
		rw.Header().Set("Upgrade", "h2c")
	})
	res, _ := w.Get("/acme/x")
	for _, name := range []string{"Connection", "X-Hop", "Keep-Alive", "Upgrade"} {
		if v, there := res.Header[name]; there || res.Close {
			t.Errorf("%s: %q was passed on, close %v", name, v, res.Close)
		}
	}
}

func TestAUsersAnswersAreKeptFromSharedCaches(t *testing.T) {
	for _, c := range []struct{ path, from, want string }{
		{"/acme/x", "", "private"},
		{"/acme/x", "public, max-age=60, S-Maxage=600", "private, max-age=60"},
		{"/acme/x", "no-store", "private, no-store"},
		{"/acme/x", "private,  must-revalidate ,", "private, must-revalidate"},
		{"/acme/x", `private="set-cookie, etag", max-age=60`, "private, no-store"},
		{"/weather/x", "public, max-age=60", "public, max-age=60"},
		{"/weather/x", "", ""},
	} {
		w := gatewaytest.New(t, gatewaytest.Options{})
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			if c.from != "" {
				rw.Header().Set("Cache-Control", c.from)
			}
		})
		if res, _ := w.Get(c.path); res.Header.Get("Cache-Control") != c.want {
			t.Errorf("%s %q became %q, want %q", c.path, c.from, res.Header.Get("Cache-Control"), c.want)
		}
	}
}

func TestBodilessAnswersKeepTheirHeaders(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		for _, c := range []struct {
			method     string
			status     int
			wantLength string
		}{{"HEAD", 200, "1234"}, {"GET", 204, ""}, {"GET", 304, ""}, {"HEAD", 404, "1234"}} {
			w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Etag", `"1"`)
				if c.wantLength != "" {
					rw.Header().Set("Content-Length", c.wantLength)
				}
				rw.WriteHeader(c.status)
			})
			res, body := w.Do(w.Request(c.method, address+"/acme/x", nil))
			if res.StatusCode != c.status || res.Header.Get("Content-Length") != c.wantLength || body != "" || res.Header.Get("Etag") != `"1"` || res.Close {
				t.Errorf("%s %d: %d %v %q close %v", c.method, c.status, res.StatusCode, res.Header, body, res.Close)
			}
			if e := w.Event(); e.Err != nil || e.Status != c.status {
				t.Errorf("%s %d: event %+v", c.method, c.status, e)
			}
		}
	})
}

func TestLengthAndTypeAreTheProviders(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		page := "<html>" + strings.Repeat("x", 5000)
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header()["Content-Type"] = nil
			rw.Header().Set("Content-Length", strconv.Itoa(len(page)))
			_, _ = io.WriteString(rw, page)
		})
		res, body := w.Do(w.Request("GET", address+"/acme/x", nil))
		if _, guessed := res.Header["Content-Type"]; guessed || body != page || res.ContentLength != int64(len(page)) {
			t.Errorf("type %q, length %d", res.Header["Content-Type"], res.ContentLength)
		}
		if e := w.Event(); e.Bytes != int64(len(page)) || e.Status != 200 || e.Step != "judge" {
			t.Errorf("event %+v", e)
		}
	})
}

func TestCompressedAnswersStayAsTheyAre(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(rw, "not really gzip")
	})
	r := w.Request("GET", w.H1+"/acme/x", nil)
	r.Header.Set("Accept-Encoding", "gzip, br")
	res, body := w.Do(r)
	if res.Header.Get("Content-Encoding") != "gzip" || body != "not really gzip" || w.Provider.Last(t).Header.Get("Accept-Encoding") != "gzip, br" {
		t.Errorf("answered %v %q", res.Header, body)
	}
	w.Get("/acme/x")
	if asked := w.Provider.Last(t).Header["Accept-Encoding"]; asked != nil {
		t.Errorf("asked for %q by itself", asked)
	}
}

func TestEarlyHintsGoByAndCostNoHeader(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Link", "</a.css>; rel=preload")
			rw.Header().Set("Set-Cookie", "a=b")
			rw.Header().Set("X-Echo", "Bearer "+gatewaytest.UserToken)
			rw.WriteHeader(http.StatusEarlyHints)
			rw.WriteHeader(http.StatusProcessing)
			rw.Header().Set("X-Final", "1")
			_, _ = io.WriteString(rw, "done")
		})
		var codes []int
		var hints textproto.MIMEHeader
		r := w.Request("GET", address+"/acme/x", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			codes = append(codes, code)
			if code == http.StatusEarlyHints {
				hints = header
			}
			return nil
		}}))
		res, body := w.Do(r)
		if !reflect.DeepEqual(codes, []int{103, 102}) || hints.Get("Link") != "<"+w.Provider.URL+"/a.css>; rel=preload" || hints["Set-Cookie"] != nil || strings.Contains(hints.Get("X-Echo"), gatewaytest.UserToken) {
			t.Errorf("interim answers %v with %v", codes, hints)
		}
		if res.StatusCode != 200 || body != "done" || res.Header.Get("X-Final") != "1" || res.Header.Get("X-Toolgate-Request-Id") == "" || res.Header.Get("Link") == "" {
			t.Errorf("then %d %v %q", res.StatusCode, res.Header, body)
		}
	})
}

func TestHTTP10GetsNoEarlyHints(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusEarlyHints) })
	res, _ := rawAnswer(t, w, "GET /acme/x HTTP/1.0\r\n"+proof+"X-User-Id: ada\r\n\r\n")
	if res.StatusCode != 200 {
		t.Errorf("answered %s", res.Status)
	}
}

// The server may be writing its 100 at the same moment, and takes no lock for that.
func TestWhoWaitsFor100GetsNoEarlyHints(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusEarlyHints) })
	res, _ := rawAnswer(t, w, "POST /acme/x HTTP/1.1\r\nHost: gw\r\n"+proof+"X-User-Id: ada\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if res.StatusCode != 200 {
		t.Errorf("answered %s", res.Status)
	}
}

func TestTrailersComeThrough(t *testing.T) {
	everyWay(t, func(t *testing.T, w *gatewaytest.World, address string) {
		w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Trailer", "X-Announced, X-Toolgate-Code")
			_, _ = io.WriteString(rw, "body")
			rw.(http.Flusher).Flush()
			rw.Header().Set("X-Announced", "1")
			rw.Header().Set("X-Toolgate-Code", "auth_required")
			rw.Header().Set(http.TrailerPrefix+"X-Late", "token "+gatewaytest.UserToken)
		})
		res, _ := w.Do(w.Request("GET", address+"/acme/x", nil))
		want := http.Header{"X-Announced": {"1"}, "X-Late": {"token " + strings.Repeat("*", len(gatewaytest.UserToken))}}
		if !reflect.DeepEqual(res.Trailer, want) {
			t.Errorf("trailer %v, want %v", res.Trailer, want)
		}
	})
}

func TestAnEchoedSecretIsMasked(t *testing.T) {
	for path, secrets := range map[string][]string{
		"/acme/x":    {gatewaytest.UserToken},
		"/weather/x": {gatewaytest.OperatorKey},
		"/maps/x":    {gatewaytest.OperatorKey, "sk-marker-operator%2Bkey%2F%3D"},
		"/ledger/x":  {gatewaytest.Password, "Ym9va3M6bWFya2VyLWJhc2ljLXBhc3N3b3Jk"},
	} {
		w := gatewaytest.New(t, gatewaytest.Options{})
		w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
			for i, secret := range secrets {
				rw.Header().Add("X-Echo", "a "+secret+" and "+secret)
				rw.Header().Set("X-Echo-"+strconv.Itoa(i), secret)
				rw.Header().Set("Location", "https://x.example/?k="+secret)
				for j := range len(secret) { // a piece ends behind each byte of it
					_, _ = io.WriteString(rw, "<"+secret[:j])
					rw.(http.Flusher).Flush()
					_, _ = io.WriteString(rw, secret[j:]+">")
					rw.(http.Flusher).Flush()
				}
			}
			_, _ = io.WriteString(rw, secrets[0][:len(secrets[0])-1]) // a beginning at the end is no secret
		})
		res, body := w.Get(path)
		for _, secret := range secrets {
			for name, values := range res.Header {
				if strings.Contains(strings.Join(values, " "), secret) {
					t.Errorf("%s: %s shows the credential: %q", path, name, values)
				}
			}
			if strings.Contains(body, secret) || strings.Count(body, "<"+strings.Repeat("*", len(secret))+">") < len(secret) {
				t.Errorf("%s: the body shows the credential or lost something: %q", path, body)
			}
		}
		if !strings.HasSuffix(body, secrets[0][:len(secrets[0])-1]) {
			t.Errorf("%s: the end is gone: %q", path, body)
		}
	}
}

func TestMaskingKeepsTheLength(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{})
	text := `{"headers":{"authorization":"Bearer ` + gatewaytest.UserToken + `"}}`
	w.Provider.Handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Encoding", "identity")
		rw.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = io.WriteString(rw, text)
	})
	res, body := w.Get("/acme/x")
	if body != strings.ReplaceAll(text, gatewaytest.UserToken, strings.Repeat("*", len(gatewaytest.UserToken))) || res.ContentLength != int64(len(text)) {
		t.Errorf("length %d: %s", res.ContentLength, body)
	}
}

// When the answer is there, the upload is not sent again, and not kept for it.
func TestWhatWasUploadedIsNotKeptWhileTheAnswerLasts(t *testing.T) {
	w := gatewaytest.New(t, reaching(seeing(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(reader(func([]byte) (int, error) {
			if _, err := r.GetBody(); err == nil {
				t.Error("the upload is still there")
			}
			return 0, io.EOF
		})), Request: r}, nil
	})))
	w.Do(w.Request("POST", w.H1+"/acme/x", strings.NewReader("the upload")))
}

type reader func([]byte) (int, error)

func (f reader) Read(p []byte) (int, error) { return f(p) }
