// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/secret"
)

// What a provider adds to a callback, to show that it is from there and from which of its
// customers. State and PKCE show that the flow is ours; who wrote the rest of the address
// they do not.

var (
	errUnsigned   = errors.New("the callback is not signed with the client's secret: was it altered, or is client_secret another one than the provider's?")
	errOtherPlace = errors.New("the callback is from another place than the one that the user has named, by callback_claim")
)

// fromThere looks whether the callback is signed, and of the place that the user has named,
// where the toolkit says that it has to be. failure is the word for what is wrong, or "".
func (t *trip) fromThere() (failure string, err error) {
	o := t.toolkit.OAuth
	if o.CallbackHMAC != "" && !signed(t.query, o.CallbackHMAC, o.ClientSecret) {
		return unsigned, errUnsigned
	}
	for parameter, want := range o.CallbackClaims {
		if said := t.query[parameter]; len(said) != 1 || said[0] != want {
			return otherPlace, errOtherPlace
		}
	}
	return "", nil
}

// signed reports whether a parameter of a query holds, in hex, the HMAC-SHA256 of all
// others, as Shopify signs: name=value, sorted and joined by &, with % and & escaped, and =
// in names. A parameter that is there twice could be read in two ways, so nothing is
// signed then.
func signed(query url.Values, parameter string, key secret.String) bool {
	given, err := hex.DecodeString(query.Get(parameter))
	if err != nil || key.IsZero() {
		return false
	}
	var parts []string
	for name, values := range query {
		if len(values) != 1 {
			return false
		}
		if name != parameter {
			parts = append(parts, inNames.Replace(name)+"="+inValues.Replace(values[0]))
		}
	}
	slices.Sort(parts)
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(strings.Join(parts, "&")))
	return hmac.Equal(given, mac.Sum(nil))
}

// What separates parameters is escaped within them, or who may choose a value could move
// the end of it.
var (
	inNames  = strings.NewReplacer("%", "%25", "&", "%26", "=", "%3D")
	inValues = strings.NewReplacer("%", "%25", "&", "%26")
)
