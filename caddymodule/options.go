// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/toolgate/toolgate/toolkit"
)

// options are what a block may hold, by name; a name with * may come many times.
type options map[string]option

type option struct {
	usage string
	parse parser
}

// parser reads an option whose name is the current token.
type parser func(*caddyfile.Dispenser) error

// errUsage: the arguments are wrong; the message is the option's usage.
var errUsage = errors.New("usage")

// parseBlock reads a block by its table. What is unknown, missing or repeated is an
// error with file, line and what would be right.
func parseBlock(d *caddyfile.Dispenser, where string, table options) error {
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		o, many := table[name+"*"]
		if !many {
			known := false
			if o, known = table[name]; !known && len(table) == 0 {
				return d.Errf("%s takes no block", where)
			} else if !known {
				return d.Errf("%s does not know the option %q; it knows: %s", where, name, strings.Join(table.names(), ", "))
			}
		}
		if seen[name] && !many {
			return d.Errf("%s: %s is given twice", where, name)
		}
		seen[name] = true
		line := d.Token()
		switch err := o.parse(d); {
		case errors.Is(err, errUsage):
			return errAt(line, "%s: that is not how %s is written; write: %s", where, name, o.usage)
		case errors.Is(err, errLiteral):
			return errAt(line, "%s: %s: %v", where, name, err)
		case errors.As(err, new(mistake)):
			return errAt(line, "%v", err)
		case err != nil:
			return err
		}
	}
	return nil
}

// mistake is an error of what was written, which parseBlock gives its place.
type mistake struct{ error }

// checked reads an option and looks at what was read. A value with a placeholder can
// be judged only where the configuration is loaded.
func checked(read parser, written *string, check func() error) parser {
	return func(d *caddyfile.Dispenser) error {
		err := read(d)
		if err == nil && !strings.Contains(*written, "{") {
			if err = check(); err != nil {
				return mistake{err}
			}
		}
		return err
	}
}

// errAt is an error at a token, in the form of Caddy's own.
func errAt(at caddyfile.Token, format string, args ...any) error {
	return fmt.Errorf("%s, at %s:%d", fmt.Sprintf(format, args...), at.File, at.Line)
}

func (o options) names() []string {
	names := sortedKeys(o)
	for i := range names {
		names[i] = strings.TrimSuffix(names[i], "*")
	}
	return names
}

func text(to *string) parser {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) != 1 {
			return errUsage
		}
		*to = args[0]
		return nil
	}
}

// optionalText reads a text where an empty one is not the same as none.
func optionalText(to **string) parser {
	return func(d *caddyfile.Dispenser) error {
		*to = new(string)
		return text(*to)(d)
	}
}

func texts(to *[]string) parser {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) == 0 {
			return errUsage
		}
		*to = append(*to, args...)
		return nil
	}
}

func sign(to **toolkit.Sign) parser {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) < 3 {
			return errUsage
		}
		status, err := strconv.Atoi(args[0])
		if err != nil {
			return errUsage
		}
		*to = &toolkit.Sign{Status: status, Field: args[1], Values: args[2:]}
		return nil
	}
}

func scopeSign(to **toolkit.ScopeSign) parser {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) < 4 || len(args) > 5 {
			return errUsage
		}
		status, err := strconv.Atoi(args[0])
		if err != nil {
			return errUsage
		}
		*to = &toolkit.ScopeSign{Sign: toolkit.Sign{Status: status, Field: args[1], Values: args[2:3]}, Needed: args[3]}
		if len(args) == 5 {
			(*to).Provided = args[4]
		}
		return nil
	}
}

func oneOf(to *string, choices ...string) parser {
	return func(d *caddyfile.Dispenser) error {
		if err := text(to)(d); err != nil || !slices.Contains(choices, *to) {
			return errUsage
		}
		return nil
	}
}

func placeholder(to *string) parser {
	return func(d *caddyfile.Dispenser) error {
		if err := text(to)(d); err != nil {
			return err
		}
		return placeholderOnly(*to)
	}
}

func placeholders(to *[]string) parser {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) == 0 {
			return errUsage
		}
		for _, arg := range args {
			if err := placeholderOnly(arg); err != nil {
				return err
			}
		}
		*to = append(*to, args...)
		return nil
	}
}

func pair(to *map[string]string) parser {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) != 2 {
			return errUsage
		}
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[args[0]] = args[1]
		return nil
	}
}

func duration(to *caddy.Duration) parser {
	return func(d *caddyfile.Dispenser) error {
		var written string
		if err := text(&written)(d); err != nil {
			return err
		}
		value, err := caddy.ParseDuration(written)
		if err != nil || value <= 0 {
			return errUsage
		}
		*to = caddy.Duration(value)
		return nil
	}
}

func size(to *int64) parser {
	return func(d *caddyfile.Dispenser) error {
		var written string
		if err := text(&written)(d); err != nil {
			return err
		}
		if written == "off" {
			*to = -1
			return nil
		}
		value, err := humanize.ParseBytes(written)
		if err != nil || value == 0 || value > 1<<30 {
			return errUsage
		}
		*to = int64(value)
		return nil
	}
}

func status(to *int) parser {
	return func(d *caddyfile.Dispenser) error {
		var written string
		if err := text(&written)(d); err != nil {
			return err
		}
		code, err := strconv.Atoi(written)
		if err != nil || code < 400 || code > 499 {
			return errUsage
		}
		*to = code
		return nil
	}
}

// within reads a number between two.
func within(to *int, least, most int) parser {
	return func(d *caddyfile.Dispenser) (err error) {
		var written string
		if err := text(&written)(d); err != nil {
			return err
		}
		if *to, err = strconv.Atoi(written); err != nil || *to < least || *to > most {
			return errUsage
		}
		return nil
	}
}

func flag(to *bool) parser {
	return func(d *caddyfile.Dispenser) error {
		if d.NextArg() {
			return errUsage
		}
		*to = true
		return nil
	}
}

// onOff reads a setting that is not said until it is written.
func onOff(to **bool) parser {
	return func(d *caddyfile.Dispenser) error {
		var written string
		if err := oneOf(&written, "on", "off")(d); err != nil {
			return err
		}
		on := written == "on"
		*to = &on
		return nil
	}
}

// whether reads a setting that is off until it is switched on.
func whether(to *bool) parser {
	return func(d *caddyfile.Dispenser) error {
		var written string
		err := oneOf(&written, "on", "off")(d)
		*to = written == "on"
		return err
	}
}

// into makes the part of a toolkit that an option belongs to, and reads it.
func into[T any](to **T, read func(*T) parser) parser {
	return func(d *caddyfile.Dispenser) error {
		if *to == nil {
			*to = new(T)
		}
		return read(*to)(d)
	}
}
