// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// inspection is a script that gives what is wrong with the page as lines.
//
//go:embed inspect.js
var inspection string

// widths are a small phone, two usual ones and a desk.
var widths = []struct{ width, height int64 }{{320, 568}, {360, 740}, {390, 844}, {1280, 800}}

// look inspects the page that is open, in both colour schemes and all widths, and
// keeps a picture of each.
func (p *person) look(name string) {
	p.t.Helper()
	folder := p.artifacts()
	for _, scheme := range []string{"light", "dark"} {
		for _, size := range widths {
			p.do(
				command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
					Width: size.width, Height: size.height, DeviceScaleFactor: 1, Mobile: size.width < 600,
				}),
				command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
				}),
			)
			faults := finds(p, chromedp.Evaluate[[]string](inspection))
			if size.width == 360 || size.width == 390 { // it takes its time, and looks at what no width changes
				faults = append(faults, p.axe()...)
			}
			picture := finds(p, chromedp.FullScreenshot(100))
			which := fmt.Sprintf("%s-%d-%s", name, size.width, scheme)
			for _, fault := range faults {
				p.t.Errorf("%s: %s", which, fault)
			}
			if err := os.WriteFile(filepath.Join(folder, which+".png"), picture, 0o600); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

// axeVersion is the accessibility checker that is used, from the npm registry.
const axeVersion = "4.11.0"

// axe gives what axe-core finds wrong with the page. Without it there are the findings
// of our own inspection, except where it has been promised.
func (p *person) axe() []string {
	p.t.Helper()
	folder, err := fromNPM("axe-core", axeVersion)
	if err != nil {
		if os.Getenv("TOOLGATE_REQUIRE_REAL") == "1" {
			p.t.Fatalf("no axe-core, and TOOLGATE_REQUIRE_REAL is set: %v", err)
		}
		return nil
	}
	script, err := os.ReadFile(filepath.Join(folder, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		p.t.Fatal(err)
	}
	return finds(p, chromedp.Evaluate[[]string](string(script)+`;
		axe.run(document, { resultTypes: ["violations"] }).then((found) =>
			found.violations.flatMap((v) => v.nodes.map((n) => "axe: " + v.id + ": " + n.html.slice(0, 120))))`, chromedp.EvalAwaitPromise))
}

// artifacts is where pictures go, never into the repository.
func (p *person) artifacts() string {
	p.t.Helper()
	folder := os.Getenv("TOOLGATE_SCREENSHOTS")
	if folder == "" {
		folder = filepath.Join(p.t.TempDir(), "artifacts")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		p.t.Fatal(err)
	}
	return folder
}
