// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"regexp"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/toolkit"
)

// Variable is a part of the toolkit's addresses that differs from connection to
// connection. Its name stands in braces: as the host, before the first dot of the host,
// or as a segment of the path of `base_url`, `host`, `identity` or `probe`, and one that
// users say also in the addresses of `oauth2`. Of `host`, `label` and `segment`, it has one.
type Variable struct {
	// Who says what the value is: `token_reply`, the answer that brings a token, at
	// every renewal too; `lookup`, a call with the new token when the user connects;
	// `callback`, the address that brings the browser back; or `asked`, the user, on the
	// page behind the link. Whoever sits at the browser can alter a callback, so it is kept
	// only if the identity call, in whose address it stands, then works with the user's new
	// token. What users say comes before all of it, and stays the connection's.
	From string `json:"from"`

	// The field of the answer's JSON, dots go deeper; or the callback's parameter.
	Field string `json:"field,omitempty"`

	// What the page calls it, where users say it, such as `Your shop's name`.
	Ask string `json:"ask,omitempty"`

	// What they may enter, as an example. They may enter a value or paste an address of
	// the toolkit in which one stands. Default: `your-`, the variable's name, and what
	// stands behind it in a host.
	Example string `json:"example,omitempty"`

	// A sentence below the field, such as where they find it. Default: none.
	Help string `json:"help,omitempty"`

	// A page that tells where they find it, which the form links to. Default: none.
	HelpURL string `json:"help_url,omitempty"`

	// A regular expression that what they enter has to match, in lower case unless it is a
	// segment. It begins with `^` and ends with `$`, and admits letters, digits, hyphens
	// and underscores alone; a dot where `\.` names it, for several labels. Default: all
	// that a label or the segment may be.
	Pattern string `json:"pattern,omitempty"`

	// The address that a lookup asks, with the user's token. Of a list in the answer,
	// the field of each element counts, and all have to say the same.
	Lookup string `json:"lookup,omitempty"`

	// The value is a host, or the https address of one, and it has to be one of these:
	// `api.example.com`, or `*.example.com` for every host below. Whatever answers
	// there gets the user's token: name nothing that others may put servers under.
	Hosts []string `json:"hosts,omitempty"`

	// The value is one label of a host's name: letters, digits and hyphens. Default: true
	// for what users say, unless it is a segment.
	Label bool `json:"label,omitempty"`

	// The value is one segment of a path, of these characters: `digits`, `alphanumeric`
	// (letters and digits) or `id` (those, `-` and `_`).
	Segment string `json:"segment,omitempty"`

	// How many characters a segment may have. Default: 64.
	MaxLength int `json:"max_length,omitempty"`
}

// parseVariable reads the option:
//
//	variable <name> {
//		from     token_reply <field> | callback <parameter> | lookup <url> <field> | asked <label>
//		host     <pattern>...                               # one of these three
//		label
//		segment  digits | alphanumeric | id [<length>]
//		pattern  <expression>                               # these with asked
//		example  <text>
//		help     <text>
//		help_url <url>
//	}
func (t *Toolkit) parseVariable(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return errUsage
	}
	name, v := args[0], new(Variable)
	if t.Variables[name] != nil {
		return d.Errf("the variable %s is there already", name)
	}
	if t.Variables == nil {
		t.Variables = map[string]*Variable{}
	}
	t.Variables[name] = v
	return parseBlock(d, "variable "+name, options{
		"from":     {"from token_reply <field>, from callback <parameter>, from lookup <url> <field>, or from asked <label>", v.parseFrom},
		"host":     {"host <pattern>..., such as host *.example.com", texts(&v.Hosts)},
		"label":    {"label", flag(&v.Label)},
		"segment":  {"segment digits, alphanumeric or id, and maybe how many, such as segment digits 20", v.parseSegment},
		"pattern":  {"pattern <expression>, such as pattern ^[a-z0-9-]+$", text(&v.Pattern)},
		"example":  {"example <text>, such as example your-shop.example.com", text(&v.Example)},
		"help":     {`help <text>, such as help "It stands in the address of your shop."`, text(&v.Help)},
		"help_url": {"help_url <url>", text(&v.HelpURL)},
	})
}

func (v *Variable) parseFrom(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 2 && (args[0] == string(toolkit.FromReply) || args[0] == string(toolkit.FromCallback)):
		v.From, v.Field = args[0], args[1]
	case len(args) == 2 && args[0] == string(toolkit.FromUser):
		v.From, v.Ask = args[0], args[1]
	case len(args) == 3 && args[0] == string(toolkit.FromLookup):
		v.From, v.Lookup, v.Field = args[0], args[1], args[2]
	default:
		return errUsage
	}
	return nil
}

func (v *Variable) parseSegment(d *caddyfile.Dispenser) (err error) {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return errUsage
	}
	v.Segment = args[0]
	if len(args) == 2 {
		if v.MaxLength, err = strconv.Atoi(args[1]); err != nil || v.MaxLength < 1 {
			return errUsage
		}
	}
	return nil
}

func (t *Toolkit) variables(s *settings) map[string]toolkit.VariableDefinition {
	if len(t.Variables) == 0 {
		return nil
	}
	all := make(map[string]toolkit.VariableDefinition, len(t.Variables))
	for name, v := range t.Variables {
		if v == nil { // null in JSON
			v = new(Variable)
		}
		all[name] = toolkit.VariableDefinition{
			From: toolkit.Source(v.From), Field: v.Field, Lookup: s.plain("variable "+name+" lookup", v.Lookup), Hosts: v.Hosts, Label: v.Label, Segment: toolkit.Characters(v.Segment), MaxLength: v.MaxLength,
			Ask: v.Ask, Example: v.Example, Help: v.Help, HelpURL: v.HelpURL, Pattern: v.Pattern,
		}
	}
	return all
}

// caddyPlaceholder is one of Caddy's in an address. All of them have a dot, and no variable has.
var caddyPlaceholder = regexp.MustCompile(`\{[^{}]*\.[^{}]*\}`)

// address is plain for an address, in which a variable stays as it is.
func (s *settings) address(name, text string) string {
	if s.dry {
		return text
	}
	r := caddy.NewReplacer()
	r.Map(func(key string) (any, bool) {
		return "{" + key + "}", !caddyPlaceholder.MatchString("{" + key + "}")
	})
	return s.with(r, name, text)
}

func (s *settings) addressEach(name string, texts map[string]string) map[string]string {
	values := make(map[string]string, len(texts))
	for key, text := range texts {
		values[key] = s.address(name+" "+key, text)
	}
	return values
}
