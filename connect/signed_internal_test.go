// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"net/url"
	"testing"

	"github.com/toolgate/toolgate/secret"
)

// The example of Shopify's own documentation, as its client libraries have it.
func TestASignatureOfShopifysIsOne(t *testing.T) {
	const text = "code=0907a61c0c8d55e99db179b68161bc00&hmac=700e2dadb827fcc8609e9d5ce208b2e9cdaab9df07390d2cbca10d7c328fc4bf&shop=some-shop.myshopify.com&state=0.6784241404160823&timestamp=1337178173"
	query, err := url.ParseQuery(text)
	if err != nil {
		t.Fatal(err)
	}
	if !signed(query, "hmac", secret.New("hush")) {
		t.Error("it is not taken")
	}
	if signed(query, "hmac", secret.New("hushed")) || signed(query, "hmac", secret.String{}) || signed(query, "signature", secret.New("hush")) {
		t.Error("anything is")
	}
}
