// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	_ "image/png" // the one kind of picture besides SVG
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Branding makes the pages the operator's own.
type Branding struct {
	// Name stands at the top of each page. "": Toolgate.
	Name string
	// Logo is a picture beside it, SVG or PNG. It is served from here: a page asks
	// nobody else for anything.
	Logo []byte
	// Color is that of buttons and links, such as #1b5cc8. For the dark scheme it is
	// made as light as it has to be.
	Color string

	logoType   string
	accent     [2]rgb // light, dark
	underMouse [2]rgb
}

const (
	maxName = 60 // characters
	// MaxLogo bounds a logo, in bytes: it is loaded with every page.
	MaxLogo     = 128 << 10
	maxLogoSide = 2000 // pixels
)

// rgb is a colour, each part from 0 to 1.
type rgb [3]float64

// What text in the colour stands on, and what text stands on it, as in style.css.
var (
	lightGrounds = []rgb{{1, 1, 1}, hex6("f3f6fa"), hex6("eef2f6")}
	darkGrounds  = []rgb{hex6("1a212b"), hex6("222c38"), hex6("10151c"), hex6("0b1523")}
)

// readable is the contrast that text needs (WCAG 2.2, 1.4.3).
const readable = 4.5

// Prepare checks it all and makes what follows from it.
func (b *Branding) Prepare() error {
	if b.Name != "" && (utf8.RuneCountInString(b.Name) > maxName || strings.ContainsFunc(b.Name, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.TrimSpace(b.Name) != b.Name) {
		return fmt.Errorf("name: at most %d characters on one line, please", maxName)
	}
	if b.Logo != nil {
		if err := b.checkLogo(); err != nil {
			return fmt.Errorf("logo: %w", err)
		}
	}
	if b.Color != "" {
		if err := b.mix(); err != nil {
			return fmt.Errorf("color %s: %w", b.Color, err)
		}
	}
	return nil
}

func (b *Branding) checkLogo() error {
	if len(b.Logo) == 0 || len(b.Logo) > MaxLogo {
		return fmt.Errorf("a file of 1 to %d KiB, please", MaxLogo>>10)
	}
	if c, kind, err := image.DecodeConfig(bytes.NewReader(b.Logo)); err == nil && kind == "png" {
		if c.Width > maxLogoSide || c.Height > maxLogoSide {
			return fmt.Errorf("at most %d pixels on a side, please; this has %d × %d", maxLogoSide, c.Width, c.Height)
		}
		b.logoType = "image/png"
		return nil
	}
	if !isSVG(b.Logo) {
		return errors.New("an SVG or a PNG, please")
	}
	b.logoType = "image/svg+xml"
	return nil
}

// isSVG reports whether it is XML from end to end, with an svg around it.
func isSVG(text []byte) bool {
	d, first := xml.NewDecoder(bytes.NewReader(text)), ""
	for {
		token, err := d.Token()
		if err != nil {
			return err == io.EOF && first == "svg"
		}
		if start, ok := token.(xml.StartElement); ok && first == "" {
			if first = start.Name.Local; start.Name.Space != "http://www.w3.org/2000/svg" {
				return false
			}
		}
	}
}

var sixDigits = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// mix makes the four colours. In the light scheme it is taken as it is, or refused: who
// has chosen it should see it. In the dark one nobody's own colour could be read.
func (b *Branding) mix() error {
	if !sixDigits.MatchString(b.Color) {
		return errors.New("# and six digits, please, such as #1b5cc8")
	}
	light := hex6(b.Color[1:])
	if c := worst(light, lightGrounds); c < readable {
		return fmt.Errorf("text in it has a contrast of %.1f on a light page, and needs %.1f: a darker one, please", c, readable)
	}
	dark := light
	for worst(dark, darkGrounds) < readable+0.2 {
		dark = dark.towards(rgb{1, 1, 1}, 0.05)
	}
	b.accent = [2]rgb{light, dark}
	b.underMouse = [2]rgb{light.towards(rgb{}, 0.18), dark.towards(rgb{1, 1, 1}, 0.25)}
	return nil
}

func hex6(digits string) (c rgb) {
	for i := range c {
		n, _ := strconv.ParseUint(digits[2*i:2*i+2], 16, 8) // were looked at
		c[i] = float64(n) / 255
	}
	return c
}

func (c rgb) towards(other rgb, part float64) rgb {
	for i := range c {
		c[i] += (other[i] - c[i]) * part
	}
	return c
}

func (c rgb) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0]*255)), int(math.Round(c[1]*255)), int(math.Round(c[2]*255)))
}

// luminance and contrast are those of WCAG 2.2.
func (c rgb) luminance() float64 {
	sum := 0.0
	for i, weight := range [3]float64{0.2126, 0.7152, 0.0722} {
		if c[i] <= 0.04045 {
			sum += weight * c[i] / 12.92
		} else {
			sum += weight * math.Pow((c[i]+0.055)/1.055, 2.4)
		}
	}
	return sum
}

func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func worst(c rgb, grounds []rgb) float64 {
	least := math.Inf(1)
	for _, g := range grounds {
		least = min(least, contrast(c, g))
	}
	return least
}

// brandCSS and logo are the addresses of what the pages load besides, below connect/.
const (
	brandCSS = "brand.css"
	brandPic = "logo"
)

// serveBrand serves what belongs to the branding, or reports that there is no such.
func (s *Service) serveBrand(v visit, name string) bool {
	b := s.cfg.Branding
	if b == nil {
		return false
	}
	var text []byte
	kind := "text/css; charset=utf-8"
	switch {
	case name == brandCSS && b.Color != "":
		text = fmt.Appendf(nil, ":root { --accent: %s; --accent-hover: %s; }\n@media (prefers-color-scheme: dark) { :root { --accent: %s; --accent-hover: %s; } }\n",
			b.accent[0], b.underMouse[0], b.accent[1], b.underMouse[1])
	case name == brandPic && b.Logo != nil:
		text, kind = b.Logo, b.logoType
	default:
		return false
	}
	h := v.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "public, max-age=300")
	// An SVG that is opened by itself is a page of this origin, and may hold a script.
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	v.w.WriteHeader(http.StatusOK)
	_, _ = v.w.Write(text)
	return true
}

// brand puts the branding on a page.
func (s *Service) brand(d *view) {
	d.Brand = "Toolgate"
	if b := s.cfg.Branding; b != nil {
		if b.Name != "" {
			d.Brand = b.Name
		}
		d.HasLogo, d.HasColor = b.Logo != nil, b.Color != ""
	}
}
