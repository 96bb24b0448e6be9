// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"io"
	"os"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/connect"
)

// Branding makes the pages that users see your own.
type Branding struct {
	// What stands at the top of each page. Default: `Toolgate`.
	Name string `json:"name,omitempty"`

	// A file with the picture beside it, SVG or PNG, up to 128 KiB. It is read when the
	// configuration is loaded, and served by the pages themselves.
	Logo string `json:"logo,omitempty"`

	// The colour of buttons and links, such as `#1b5cc8`. One that could not be read on
	// a light page is refused; for the dark scheme it is made as light as it has to be.
	Color string `json:"color,omitempty"`

	made *connect.Branding
}

// parse reads the option:
//
//	branding {
//		name  <text>
//		logo  <file>
//		color <#rrggbb>
//	}
func (b *Branding) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return errUsage
	}
	return parseBlock(d, "branding", options{
		"name":  {"name <text>", text(&b.Name)},
		"logo":  {"logo <file>", text(&b.Logo)},
		"color": {"color <#rrggbb>, such as color \"#1b5cc8\"", text(&b.Color)},
	})
}

// provision checks it. The logo is read here: a file that is missing or no picture is
// better found when the configuration is loaded than on somebody's page.
func (b *Branding) provision() error {
	b.made = &connect.Branding{Name: b.Name, Color: b.Color}
	if b.Logo != "" {
		file, err := os.Open(b.Logo)
		if err != nil {
			return fmt.Errorf("branding: logo: %w", err)
		}
		defer file.Close()
		if b.made.Logo, err = io.ReadAll(io.LimitReader(file, connect.MaxLogo+1)); err != nil {
			return fmt.Errorf("branding: logo: %w", err)
		}
	}
	if err := b.made.Prepare(); err != nil {
		return fmt.Errorf("branding: %w", err)
	}
	return nil
}
