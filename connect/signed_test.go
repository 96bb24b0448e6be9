// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/demo"
	"github.com/toolgate/toolgate/toolkit"
)

// signing has callbacks that are signed and name the shop, as Shopify's.
func signing(d *toolkit.Definition) {
	d.OAuth.CallbackHMAC, d.OAuth.CallbackClaims = "hmac", map[string]string{"shop": "{shop}.shops.example"}
}

// sign is what the provider does with a callback.
func sign(q url.Values) {
	q.Del("hmac")
	var parts []string
	for name, values := range q {
		parts = append(parts, name+"="+values[0])
	}
	slices.Sort(parts)
	mac := hmac.New(sha256.New, []byte("acme-client-secret"))
	mac.Write([]byte(strings.Join(parts, "&")))
	q.Set("hmac", hex.EncodeToString(mac.Sum(nil)))
}

func TestACallbackHasToBeSignedAndOfTheShop(t *testing.T) {
	plain := func(url.Values) {}
	for name, x := range map[string]struct {
		before, after func(url.Values) // the signature
		failure, says string
	}{
		"as it should be":                 {plain, plain, "", ""},
		"with more in it":                 {func(q url.Values) { q.Set("host", "YWJj"); q.Set("timestamp", "1337178173"); q.Set("note", "") }, plain, "", ""},
		"in capitals":                     {plain, func(q url.Values) { q.Set("hmac", strings.ToUpper(q.Get("hmac"))) }, "", ""},
		"of another shop":                 {func(q url.Values) { q.Set("shop", "south.shops.example") }, plain, "other_place", "another place than the one that you had named"},
		"of no shop":                      {func(q url.Values) { q.Del("shop") }, plain, "other_place", "another place"},
		"of a shop without its host":      {func(q url.Values) { q.Set("shop", "north") }, plain, "other_place", "another place"},
		"with a code exchanged":           {plain, func(q url.Values) { q.Set("code", "another") }, "unsigned", "does not bear the signature"},
		"with the shop exchanged":         {plain, func(q url.Values) { q.Set("shop", "south.shops.example") }, "unsigned", "does not bear the signature"},
		"with something added":            {plain, func(q url.Values) { q.Set("x", "1") }, "unsigned", "does not bear the signature"},
		"with a shop twice":               {plain, func(q url.Values) { q.Add("shop", "north.shops.example") }, "unsigned", "does not bear the signature"},
		"with a signature twice":          {plain, func(q url.Values) { q.Add("hmac", q.Get("hmac")) }, "unsigned", "does not bear the signature"},
		"with none":                       {plain, func(q url.Values) { q.Del("hmac") }, "unsigned", "does not bear the signature"},
		"with an empty one":               {plain, func(q url.Values) { q.Set("hmac", "") }, "unsigned", "does not bear the signature"},
		"with half of one":                {plain, func(q url.Values) { q.Set("hmac", q.Get("hmac")[:32]) }, "unsigned", "does not bear the signature"},
		"with one that is no hex":         {plain, func(q url.Values) { q.Set("hmac", strings.Repeat("zz", 32)) }, "unsigned", "does not bear the signature"},
		"with parameters joined into one": {func(q url.Values) { q.Set("a", "1"); q.Set("b", "2") }, func(q url.Values) { q.Set("a", "1&b=2"); q.Del("b") }, "unsigned", "does not bear the signature"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newShops(t, signing)
			b, link := newBrowser(w), w.link(alice)
			callback := mustParse(t, b.answer(b.say(link, "north"), "alice", "allow"))
			q := callback.Query()
			q.Set("shop", "north.shops.example")
			x.before(q)
			sign(q)
			x.after(q)
			callback.RawQuery = q.Encode()
			p := b.get(callback.String())
			if x.failure == "" {
				p.want(t, http.StatusOK, "Connected as alice@acme.example")
				return
			}
			p.want(t, http.StatusOK, "Connect Acme Shops?")
			p.says(t, x.says)
			p.hides(t, "south")
			w.notConnected()
			w.wantReported("failed " + x.failure)
			if s := w.north().Stats(); s.TokenRequests != 0 || w.south().Stats() != (demo.Stats{}) {
				t.Errorf("the code was exchanged: %+v", s)
			}
			b.get(callback.String()) // the flow has ended
			sign(q)
			w.notConnected()
			// And another try with the same link works.
			again := mustParse(t, b.answer(b.say(link, "north"), "alice", "allow"))
			q = again.Query()
			q.Set("shop", "north.shops.example")
			sign(q)
			again.RawQuery = q.Encode()
			b.get(again.String()).want(t, http.StatusOK, "Connected as alice@acme.example")
		})
	}
}
