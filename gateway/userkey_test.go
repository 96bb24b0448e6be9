// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

func TestNoPartOfAUsersKeyComesBack(t *testing.T) {
	w := gatewaytest.New(t, gatewaytest.Options{Acme: func(tk *toolkit.Toolkit) {
		tk.OAuth = nil
		tk.Auth = toolkit.Auth{Kind: toolkit.APIKey, PerUser: true, Fields: []toolkit.Field{
			{Name: "first", Header: "X-First", Prefix: "Key "}, {Name: "second", Query: "second"}, {Name: "third", Query: "third"},
		}}
	}})
	w.Credentials.Connect("ada", w.Toolkits["acme"], `{"first":"first-marker","second":"second+marker","third":"third\"marker"}`)
	var sent string
	w.Provider.Handle(func(rw http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		sent = fmt.Sprint(r.Header["X-First"], q["second"], q["third"])
		rw.Header().Set("X-Echo", sent)
		_, _ = io.WriteString(rw, sent+r.RequestURI)
	})
	r := w.Request("GET", w.H1+"/acme/x?second=mine&a=b&THIRD=mine", nil)
	r.Header.Set("X-First", "mine")
	res, err := w.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if want := `[Key first-marker] [second+marker] [third"marker]`; sent != want {
		t.Errorf("sent %s", sent)
	}
	text := fmt.Sprint(res.Header, string(body))
	noSecret(t, "the answer", text)
	if !strings.Contains(text, "Key ************") || strings.Contains(text, "mine") {
		t.Errorf("the answer: %s", text)
	}
	noSecret(t, "the event", everyVerb(w.Event()))
}
