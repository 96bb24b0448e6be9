// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/connect"
)

const aLogo = `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><script>alert(1)</script><circle r="4" cx="4" cy="4"/></svg>`

func pngOf(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func branded(t testing.TB, b connect.Branding) func(*connect.Config) {
	t.Helper()
	if err := b.Prepare(); err != nil {
		t.Fatal(err)
	}
	return func(cfg *connect.Config) { cfg.Branding = &b }
}

func TestPagesAreTheOperatorsOwn(t *testing.T) {
	all := branded(t, connect.Branding{Name: `Example <&> "Corp"`, Logo: []byte(aLogo), Color: "#8a1253"})
	for name, p := range everyPage(t, all) {
		p.says(t, `Example <&> "Corp"`)
		if strings.Contains(p.text, "Toolgate<") || !strings.Contains(p.text, `src="/connect/logo"`) || !strings.Contains(p.text, `href="/connect/brand.css"`) {
			t.Errorf("%s:\n%s", name, p.text)
		}
		for _, fault := range faultsOf(p.text) {
			t.Errorf("%s: %s", name, fault)
		}
		wantPlain(t, name, p)
	}
	w := newWorld(t, all)
	for path, kind := range map[string]string{"logo": "image/svg+xml", "brand.css": "text/css; charset=utf-8"} {
		p := newBrowser(w).get(public + "/connect/" + path)
		if p.status != http.StatusOK || p.header.Get("Content-Type") != kind || p.header.Get("X-Content-Type-Options") != "nosniff" || p.header.Get("Content-Security-Policy") != "default-src 'none'; sandbox" {
			t.Errorf("%s: %d %v", path, p.status, p.header)
		}
		if path == "logo" && p.text != aLogo || path != "logo" && !strings.Contains(p.text, "--accent: #8a1253;") {
			t.Errorf("%s: %s", path, p.text)
		}
	}
}

func TestWithoutBrandingThereIsNothingOfIt(t *testing.T) {
	for name, change := range map[string]func(*connect.Config){"none": func(*connect.Config) {}, "only a name": branded(t, connect.Branding{Name: "Example"})} {
		w := newWorld(t, change)
		newBrowser(w).get(w.link(alice)).hides(t, "brand.css", "/connect/logo")
		for _, path := range []string{"logo", "brand.css"} {
			if p := newBrowser(w).get(public + "/connect/" + path); p.status != http.StatusNotFound {
				t.Errorf("%s: %s: %d", name, path, p.status)
			}
		}
	}
}

func TestWhatCannotBeShownOrReadIsRefused(t *testing.T) {
	for fault, b := range map[string]connect.Branding{
		"at most 60":      {Name: strings.Repeat("x", 61)},
		"on one line":     {Name: "a\nb"},
		"one line":        {Name: " a"},
		"SVG or a PNG":    {Logo: []byte("GIF89a")},
		"an SVG":          {Logo: []byte(`<html xmlns="http://www.w3.org/1999/xhtml"></html>`)},
		"a PNG":           {Logo: []byte(`<svg xmlns="http://www.w3.org/2000/svg">`)},
		"SVG or":          {Logo: []byte(`<svg></svg>`)},
		"1 to 128 KiB":    {Logo: []byte{}},
		"to 128 KiB":      {Logo: make([]byte, 128<<10+1)},
		"2000 pixels":     {Logo: pngOf(t, 2001, 1)},
		"six digits":      {Color: "#fff"},
		"# and six":       {Color: "red; } body { display: none"},
		"contrast of 1.0": {Color: "#ffffff"},
		"a darker one":    {Color: "#7a7a7a"},
	} {
		if err := b.Prepare(); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%.60v: %v, want %q", b, err, fault)
		}
	}
	if err := (&connect.Branding{Name: strings.Repeat("ü", 60), Logo: pngOf(t, 2000, 2000), Color: "#000000"}).Prepare(); err != nil {
		t.Error(err)
	}
}
