// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/toolgate/toolgate/caddymodule"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const separator = "\n----------\n"

// TestCaddyfiles holds each testdata/adapt file to what stands below its line: the
// JSON of the global option and the handlers, or the error.
func TestCaddyfiles(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(text), separator)
			got := adapted(t, input)
			if *update {
				if err := os.WriteFile(file, []byte(input+separator+got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != strings.TrimSpace(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// adapted is the JSON of a Caddyfile, or its error and, if it adapts, that of loading it.
func adapted(t *testing.T, input string) string {
	t.Helper()
	text, _, err := adapt(input)
	if err != nil {
		return "error: " + err.Error()
	}
	if err := validate(t, text); err != nil {
		return "error: " + own(err.Error())
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String()
}

// own is the part of an error that is ours. Caddy loads its apps in random order, so
// what it puts before tells now of one and now of the other.
func own(text string) string {
	const mark = "provision "
	return text[strings.LastIndex(text, mark)+len(mark):]
}

func adapt(input string) ([]byte, []caddyconfig.Warning, error) {
	return caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
}

// validate provisions a configuration as `toolgate validate` does. It must leave
// nothing on the disk.
func validate(t *testing.T, text []byte) error {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	var config *caddy.Config
	if err := caddy.StrictUnmarshalJSON(text, &config); err != nil {
		return err
	}
	return caddy.Validate(config)
}

// TestEverythingThatIsShownCanBeLoaded takes each Caddyfile that a reader may copy:
// the example and every block in the documentation.
func TestEverythingThatIsShownCanBeLoaded(t *testing.T) {
	shown := map[string]string{}
	for _, pattern := range []string{"../Caddyfile.example", "../examples/*/Caddyfile"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			shown[file] = string(text)
		}
	}
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../examples/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for i, block := range caddyfileBlocks(t, file) {
				shown[file+" block "+string(rune('1'+i))] = block
			}
		}
	}
	if len(shown) < 2 {
		t.Fatalf("found only %d", len(shown))
	}
	for name, text := range shown {
		t.Run(name, func(t *testing.T) {
			adapted, warnings, err := adapt(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range warnings {
				t.Errorf("warning: %s", w)
			}
			if err := validate(t, adapted); err != nil {
				t.Error(err)
			}
		})
	}
}

var fenced = regexp.MustCompile("(?ms)^( *)```caddyfile\n(.*?)^ *```$")

// caddyfileBlocks are the fenced caddyfile blocks of a Markdown file.
func caddyfileBlocks(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, found := range fenced.FindAllStringSubmatch(string(text), -1) {
		indent := found[1] // of a block that stands in a list
		blocks = append(blocks, strings.TrimPrefix(strings.ReplaceAll("\n"+found[2], "\n"+indent, "\n"), "\n"))
	}
	return blocks
}

func TestTheExampleLoadsWithItsVariablesSetToo(t *testing.T) {
	for _, name := range []string{"SUPPORT_BOT_KEY", "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "OPENAI_API_KEY"} {
		t.Setenv(name, "0123456789abcdef-"+name)
	}
	text, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	adapted, _, err := adapt(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, adapted); err != nil {
		t.Error(err)
	}
	if bytes.Contains(adapted, []byte("0123456789abcdef")) {
		t.Error("a secret's value is in the configuration")
	}
}
