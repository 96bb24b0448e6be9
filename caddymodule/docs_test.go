// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Caddy's website shows these comments; one without says "There are no docs".
func TestEveryOptionHasAComment(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	options := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				if field.Tag == nil || reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json") == "" || !field.Names[0].IsExported() {
					continue
				}
				options++
				if len(strings.Fields(field.Doc.Text())) < 3 {
					t.Errorf("%s: %s has no comment that tells an operator anything", file, field.Names[0])
				}
			}
			return true
		})
	}
	if options < 20 {
		t.Errorf("found only %d options", options)
	}
}

// The tables of options in the code are what the Caddyfile knows.
func TestEveryCaddyfileOptionIsDocumented(t *testing.T) {
	var source []byte
	for _, file := range []string{"caddyfile.go", "apikey.go", "oauth2.go", "redis.go", "variable.go", "branding.go", "policy.go", "cooldown.go", "mcp.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	docs, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^\t+"([a-z0-9_]+)\*?":\s+(?:\{|t\.in|limitO)`).FindAllStringSubmatch(string(source), -1)
	if len(names) < 60 {
		t.Fatalf("found only %d options", len(names))
	}
	for _, name := range names {
		if !regexp.MustCompile("[`| ]" + name[1] + "[` |]").Match(docs) {
			t.Errorf("docs/configuration.md does not know %s", name[1])
		}
	}
}

func TestEveryCodeIsDocumented(t *testing.T) {
	source, err := os.ReadFile("../problem/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../docs/answers.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code\s+= "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 20 {
		t.Fatalf("found only %d codes", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(string(docs), "`"+code[1]+"`") {
			t.Errorf("docs/answers.md does not know %s", code[1])
		}
	}
}
