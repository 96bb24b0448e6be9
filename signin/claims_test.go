// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"strconv"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// What is compared is the claim of that very name, and not one that encoding/json takes for
// it. Whose name is not exactly one is somebody else's.
func TestClaimsCountByTheirExactNames(t *testing.T) {
	p := newIDP(t)
	j := newJWT(p, nil)
	ends := strconv.FormatInt(start.Add(time.Hour).Unix(), 10)
	head := `"iss":"` + issuer + `","aud":"connect","exp":` + ends
	for name, c := range map[string]struct{ claims, user string }{
		"as it should be":     {`{` + head + `,"sub":"y"}`, "y"},
		"another one, first":  {`{"Sub":"x",` + head + `,"sub":"y"}`, "y"},
		"another one, last":   {`{` + head + `,"sub":"y","Sub":"x"}`, "y"},
		"only another one":    {`{` + head + `,"Sub":"x"}`, ""},
		"twice":               {`{` + head + `,"sub":"x","sub":"y"}`, ""},
		"issuer in capitals":  {`{"Iss":"` + issuer + `","aud":"connect","exp":` + ends + `,"sub":"y"}`, ""},
		"issuer of each kind": {`{"iss":"https://evil.example","Iss":"` + issuer + `","aud":"connect","exp":` + ends + `,"sub":"y"}`, ""},
		"audience":            {`{"iss":"` + issuer + `","aud":"api","Aud":"connect","exp":` + ends + `,"sub":"y"}`, ""},
		"an end":              {`{"iss":"` + issuer + `","aud":"connect","exp":1,"Exp":` + ends + `,"sub":"y"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			user, err := j.User(with(oidctest.SignIDToken(p.key, keyID, "ES256", c.claims)))
			if err != nil || user != c.user {
				t.Errorf("it is %q, %v, want %q", user, err, c.user)
			}
		})
	}
}

func TestANonceOfAnotherNameIsNone(t *testing.T) {
	p := newIDP(t)
	o := newOIDC(p)
	trip, _ := begun(t, o, p)
	p.set(func() { p.claims["Nonce"] = p.claims["nonce"]; p.claims["nonce"] = nil })
	if user, err := o.Finish(t.Context(), answered, trip); err == nil {
		t.Errorf("it is %q", user)
	}
}
