// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package archtest holds the test of the structure: who may import whom. It reads
// the files itself, since a test that asks `go list` passes from the cache after
// the sin was committed.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/toolgate/toolgate"

// rooms lists each package and what it may import of ours. A new package enters
// itself here first. "*" is everything.
var rooms = map[string][]string{
	// Words that cross borders. They import next to nothing.
	"secret":     {},
	"caller":     {},
	"problem":    {},
	"audit":      {},
	"egress":     {},
	"handover":   {},
	"toolkit":    {"secret"}, // data: it knows no code
	"connection": {"secret"},
	"credential": {"secret", "toolkit"},
	"oauth":      {"secret", "toolkit"},

	// Things that keep and renew. Stores see sealed bytes alone.
	"tokencache/store":            {},
	"tokencache/store/memstore":   {"tokencache/store"},
	"tokencache/store/filestore":  {"tokencache/store"},
	"tokencache/store/redisstore": {"tokencache/store"},
	"tokencache/store/redistest":  {},
	"tokencache/store/storetest":  {"tokencache/store"},
	"tokencache/seal":             {},
	"tokencache/vault":            {"connection", "problem", "secret", "tokencache/seal", "tokencache/store"},
	"tokencache":                  {"connection", "oauth", "problem", "secret", "tokencache/store", "tokencache/vault", "toolkit"},

	"session": {"caller", "problem", "tokencache/seal", "tokencache/store", "tokencache/vault"},

	"api": {"audit", "caller", "problem", "session", "tokencache/store", "tokencache/vault", "toolkit"},

	// The request's way knows no store, no policy engine and no token cache: it
	// names what it needs, and caddymodule/wire.go brings it.
	"gateway":             {"audit", "caller", "connection", "credential", "egress", "problem", "secret", "toolkit"},
	"gateway/gatewaytest": {"audit", "caller", "connection", "credential", "egress", "gateway", "problem", "secret", "toolkit"},
	"gateway/streamtest":  {"gateway/gatewaytest"},
	"policy":              {"gateway", "problem", "toolkit"},
	"connect": {
		"audit", "caller", "connection", "credential", "oauth", "problem", "secret",
		"tokencache/seal", "tokencache/store", "tokencache/vault", "toolkit",
	},

	"signin": {"connect", "secret"},

	// It reaches toolkits through the gateway's handler, and no token.
	"chat": {"caller", "connection", "credential", "problem", "tokencache/seal", "toolkit"},

	// What operators do with all records at once. It moves sealed bytes; only
	// grants that come from elsewhere pass it in the clear.
	"custody": {"caller", "connection", "secret", "tokencache/seal", "tokencache/store", "tokencache/vault", "toolkit"},
	"bench/connections": {
		"connection", "oauth", "secret", "tokencache", "tokencache/seal", "tokencache/store", "tokencache/store/filestore",
		"tokencache/store/redisstore", "tokencache/vault", "toolkit",
	},

	"bench/links": {
		"caller", "connect", "tokencache/seal", "tokencache/store", "tokencache/store/filestore", "tokencache/store/redisstore", "tokencache/vault", "toolkit",
	},

	"demo":         {},
	"caddymodule":  {"*"},
	"cmd/toolgate": {"caddymodule"},
	"":             {"caddymodule"},
}

// owners may use what stands beside them, and nobody else may.
var owners = map[string][]string{
	"github.com/caddyserver/":          {"caddymodule", "cmd/toolgate"},
	"go.uber.org/zap":                  {"caddymodule"},
	"github.com/spf13/":                {"caddymodule"},
	"go.etcd.io/bbolt":                 {"tokencache/store/filestore"},
	"golang.org/x/oauth2":              {"oauth", "signin"},
	"github.com/coreos/":               {"signin"},
	"github.com/modelcontextprotocol/": {"chat"},
	"github.com/google/jsonschema-go":  {"chat"},
	"golang.org/x/time":                {"policy"},
	"github.com/sony/":                 {"policy"},
	"github.com/redis/":                {"tokencache/store/redisstore", "tokencache/store/redistest"},
}

// environment are the ways to read it. Only the doors may: everything else is told.
var environment = []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}

func TestImportsGoDownOnly(t *testing.T) {
	for dir, files := range sources(t) {
		allowed, known := rooms[dir]
		if !known {
			t.Errorf("the package %q is not in the table of this test: enter it, with what it may import", dir)
			continue
		}
		for _, f := range files {
			for _, imported := range imports(f.tree) {
				ours, isOurs := strings.CutPrefix(imported, module)
				ours = strings.TrimPrefix(ours, "/")
				switch {
				case isOurs && !slices.Contains(allowed, "*") && !slices.Contains(allowed, ours):
					t.Errorf("%s imports %s; %s may import: %s", f.name, ours, dir, strings.Join(allowed, ", "))
				case isOurs && testKit(ours) && !testKit(dir):
					t.Errorf("%s imports the test kit %s", f.name, ours)
				case !isOurs:
					checkOwner(t, f.name, dir, imported)
				}
			}
		}
	}
}

// testKit reports whether a package is for tests alone. One may build on another.
func testKit(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

func checkOwner(t *testing.T, file, dir, imported string) {
	t.Helper()
	for prefix, who := range owners {
		if strings.HasPrefix(imported, prefix) && !slices.Contains(who, dir) {
			t.Errorf("%s imports %s; only %s may", file, imported, strings.Join(who, " and "))
		}
	}
}

func TestOnlyTheDoorsReadTheEnvironment(t *testing.T) {
	for dir, files := range sources(t) {
		if dir == "caddymodule" || dir == "cmd/toolgate" || dir == "tokencache/store/redistest" { // a test kit may ask whether it may skip
			continue
		}
		for _, f := range files {
			ast.Inspect(f.tree, func(n ast.Node) bool {
				if call, ok := n.(*ast.SelectorExpr); ok {
					if pkg, ok := call.X.(*ast.Ident); ok && pkg.Name == "os" && slices.Contains(environment, call.Sel.Name) {
						t.Errorf("%s reads the environment", f.name)
					}
				}
				return true
			})
		}
	}
}

func TestEveryRoomInTheTableExists(t *testing.T) {
	there := sources(t)
	for dir := range rooms {
		if there[dir] == nil {
			t.Errorf("the table has %q, which is not there", dir)
		}
	}
}

type source struct {
	name string
	tree *ast.File
}

// sources parses everything but tests, by folder.
func sources(t *testing.T) map[string][]source {
	t.Helper()
	const root = ".."
	all := map[string][]source{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "examples") {
			return filepath.SkipDir
		}
		if _, err := os.Stat(filepath.Join(name, "go.mod")); d.IsDir() && name != root && err == nil {
			return filepath.SkipDir // a module of its own
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		if dir = filepath.ToSlash(dir); dir == "." {
			dir = ""
		}
		all[dir] = append(all[dir], source{name, tree})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func imports(f *ast.File) []string {
	var all []string
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			all = append(all, p)
		}
	}
	return all
}
