// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit_test

import (
	"net/url"
	"testing"
)

func TestAddressesOfTheToolkitHaveALocalPath(t *testing.T) {
	tk := github(t, "https://api.example.com/v2")
	for address, want := range map[string]string{
		"https://api.example.com/v2/user":             "/user",
		"https://api.example.com/v2":                  "",
		"https://api.example.com/v2/":                 "/",
		"https://API.example.com:443/v2/a%2Fb?x=1#f":  "/a%2Fb",
		"http://api.example.com/v2/user":              "/user",
		"https://uploads.example.com/up/file":         "/~uploads/file",
		"https://api.example.com/v1/user":             "not local",
		"https://api.example.com/v22/user":            "not local",
		"https://api.example.com:8443/v2/user":        "not local",
		"https://u:p@api.example.com/v2/user":         "not local",
		"https://evil.example/v2/user":                "not local",
		"https://api.example.com.evil.example/v2/":    "not local",
		"https://api.example.com/v2/~uploads/x":       "not local", // would come back as another host
		"mailto:someone@api.example.com":              "not local",
		"https://uploads.example.com/other":           "not local",
		"ftp://api.example.com/v2/user":               "not local",
		"https://api.example.com/v2/..%2f..%2fsecret": "/..%2f..%2fsecret",
	} {
		got, ok := tk.Local(parse(t, address))
		if !ok {
			got = "not local"
		}
		if got != want {
			t.Errorf("Local(%s) = %s; want %s", address, got, want)
		}
	}
}

// What Local gives, Target turns back, or refuses.
func FuzzLocal(f *testing.F) {
	for _, seed := range []string{"https://api.example.com/v2/user?a=b", "https://uploads.example.com/up/x", "https://api.example.com/v2/a%2Fb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		tk := github(t, "https://api.example.com/v2")
		u, err := url.Parse(address)
		if err != nil {
			return
		}
		path, ok := tk.Local(u)
		if !ok {
			return
		}
		back, err := tk.Target(path, u.RawQuery)
		if err != nil {
			return
		}
		if back.Hostname() != "api.example.com" && back.Hostname() != "uploads.example.com" {
			t.Fatalf("%s became %s", address, back)
		}
		if u.Path != "" && u.Path != back.Path && u.Path+"/" != back.Path {
			t.Fatalf("%s became %s", address, back)
		}
	})
}
