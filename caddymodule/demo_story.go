// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

const demoStory = `
  Toolgate   PUBLIC
  Acme       ACME   a provider of its own, for this demo

You are the agent. You hold no secret of Acme's; you only say for which user you call.

  1  In another terminal, call Acme's API for the user alice:

         CALL

     The answer is 403 auth_required, with a connect_url to show to the user.

  2  Be the user: open the connect_url in a browser and press the button. Sign in to
     Acme as Alice (her password is "demo" and filled in) and allow.
     The page says "Connected as alice@acme.example".

  3  Be the agent again. The same call is answered with Alice's data now:

         CALL

  4  Acme's access tokens live for LIFE. Wait that long and call once more: it goes on
     working, and down here a line says "token refreshed".

BEFOREConnections are kept in FOLDER
Ctrl-C stops both.

`

// tell prints the story. Its lines can be pasted into any shell, cmd.exe included.
func (d *demoRun) tell(out io.Writer) {
	before := ""
	if d.connected() {
		before = "alice is still connected from an earlier run, so you can begin at step 3.\n\n"
	}
	_, _ = strings.NewReplacer(
		"PUBLIC", d.publicURL(), "ACME", "http://"+d.acmeOn.Addr().String(), "LIFE", d.tokenLife.String(),
		"CALL", `curl -H "X-User-Id: alice" `+d.publicURL()+"/acme/v1/me", "BEFORE", before, "FOLDER", d.folder,
	).WriteString(out, demoStory)
}

// connected asks Toolgate whether alice is connected, as an agent would.
func (d *demoRun) connected() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.listen+"/v1/connections/acme", nil)
	if err != nil {
		return false
	}
	r.Host = strings.TrimPrefix(d.publicURL(), "http://")
	r.Header.Set("X-User-Id", "alice")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var body struct{ Status string }
	return json.NewDecoder(res.Body).Decode(&body) == nil && body.Status == "active"
}

// demoLines writes what happens to users' calls and connections as lines for people.
// All else is in the log file.
type demoLines struct {
	*zapcore.MapObjectEncoder
	buffers buffer.Pool
}

const demoLinesID = "caddy.logging.encoders.toolgate_demo"

// registerDemoLines is not in an init: no other configuration should find it.
func registerDemoLines() {
	if _, err := caddy.GetModule(demoLinesID); err != nil {
		caddy.RegisterModule(demoLines{})
	}
}

// CaddyModule returns the Caddy module information.
func (demoLines) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: demoLinesID, New: func() caddy.Module { return &demoLines{zapcore.NewMapObjectEncoder(), buffer.NewPool()} }}
}

// UnmarshalCaddyfile takes the name alone.
func (demoLines) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

// Clone implements zapcore.Encoder.
func (l demoLines) Clone() zapcore.Encoder {
	c := zapcore.NewMapObjectEncoder()
	maps.Copy(c.Fields, l.Fields)
	return demoLines{c, l.buffers}
}

// EncodeEntry implements zapcore.Encoder.
func (l demoLines) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	all := l.Clone().(demoLines)
	for _, f := range fields {
		f.AddTo(all)
	}
	line := l.buffers.Get()
	text := func(name string) string { s, _ := all.Fields[name].(string); return printable(s) }
	if text("user") == "" && entry.Level < zapcore.ErrorLevel {
		return line, nil
	}
	fmt.Fprintf(line, "%s  %s", entry.Time.Format(time.TimeOnly), entry.Message)
	for _, why := range []string{"code", "reason", "error"} {
		if text(why) != "" {
			fmt.Fprintf(line, ": %s", text(why))
			break // the first says it; a refusal's error repeats its code at length
		}
	}
	if life := text("good_for"); life != "" {
		fmt.Fprintf(line, ", good for %s", life)
	}
	if user, toolkit := text("user"), text("toolkit"); toolkit != "" {
		fmt.Fprintf(line, " (%s at %s)", user, toolkit)
	} else if user != "" {
		fmt.Fprintf(line, " (%s)", user)
	}
	line.AppendByte('\n')
	return line, nil
}

// printable keeps what a provider wrote into an error from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

var (
	_ caddyfile.Unmarshaler = demoLines{}
	_ zapcore.Encoder       = demoLines{}
)
