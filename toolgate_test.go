// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolgate_test

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
)

// builder has the fields of xcaddy's Builder that its JSON form may have.
type builder struct {
	CaddyVersion string `json:"caddy_version"`
	Plugins      []struct {
		ModulePath string `json:"module_path"`
		Version    string `json:"version"`
	} `json:"plugins"`
	BuildFlags string `json:"build_flags"`
}

func TestXcaddyBuildsWithTheCaddyOfGoMod(t *testing.T) {
	file, err := os.Open("xcaddy.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var b builder
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := submatch(t, mod, `github\.com/caddyserver/caddy/v2 (v\S+)`); b.CaddyVersion != want {
		t.Errorf("xcaddy.json has Caddy %s, go.mod %s", b.CaddyVersion, want)
	}
	if want := submatch(t, mod, `(?m)^module (\S+)$`); len(b.Plugins) != 1 || b.Plugins[0].ModulePath != want {
		t.Errorf("xcaddy.json has the plugins %v, go.mod the module %s", b.Plugins, want)
	}
}

func submatch(t *testing.T, text []byte, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		t.Fatalf("go.mod has nothing like %s", pattern)
	}
	return string(found[1])
}
