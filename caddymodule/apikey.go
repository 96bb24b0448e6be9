// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/toolgate/toolgate/toolkit"
)

// APIKey is a key in a header or a query parameter: one of the operator's for all
// users, or a key of each user's own.
type APIKey struct {
	// The operator's key, as a placeholder.
	Key string `json:"key,omitempty"`

	// Each user enters a key of their own, on the page behind the link.
	PerUser bool `json:"per_user,omitempty"`

	// The header to put it in. Default: the catalogue's, or `Authorization`.
	Header string `json:"header,omitempty"`

	// The query parameter to put it in, instead of a header. Keys in addresses
	// end in logs along the way: only where the provider has nothing better.
	Query string `json:"query,omitempty"`

	// What stands before the key, with its space. Default: `Bearer ` in
	// Authorization, nothing elsewhere.
	Prefix *string `json:"prefix,omitempty"`

	// What users enter, where a key consists of several parts or is called
	// differently, in place of header, query and prefix.
	Fields []KeyField `json:"fields,omitempty"`

	UserHelp
}

// KeyField is one of several parts of a user's key.
type KeyField struct {
	// The name under which it is stored. A connection that was made with other
	// names is not used any more.
	Name string `json:"name"`

	// What the page calls it. Default: its name.
	Label string `json:"label,omitempty"`

	// The header to put it in.
	Header string `json:"header,omitempty"`

	// The query parameter to put it in, instead of a header.
	Query string `json:"query,omitempty"`

	// What stands before it, with its space. Default: `Bearer ` in
	// Authorization, nothing elsewhere.
	Prefix *string `json:"prefix,omitempty"`
}

// UserHelp tells users where they find what they are asked for.
type UserHelp struct {
	// A sentence below the form. Default: the catalogue's.
	Help string `json:"help,omitempty"`

	// The page where users find or make it, which the form links to.
	// Default: the catalogue's.
	HelpURL string `json:"help_url,omitempty"`
}

// Basic is HTTP Basic authentication: one name and password of the operator's for all
// users, or those of each user.
type Basic struct {
	// The operator's user name.
	Username string `json:"username,omitempty"`

	// The operator's password, as a placeholder.
	Password string `json:"password,omitempty"`

	// Each user enters their own, on the page behind the link.
	PerUser bool `json:"per_user,omitempty"`

	// What the page calls the user name, such as `Account SID`. Default: User name.
	UsernameLabel string `json:"username_label,omitempty"`

	// What the page calls the password, such as `Auth token`. Default: Password.
	PasswordLabel string `json:"password_label,omitempty"`

	// The provider takes a key as the user name, and no password.
	NoPassword bool `json:"no_password,omitempty"`

	UserHelp
}

// parse reads the option:
//
//	api_key <placeholder> {
//		header <name>
//		query  <name>
//		prefix <text>
//	}
//	api_key per_user {
//		header   <name>                  # these three, or fields
//		query    <name>
//		prefix   <text>
//		field <name> [<label>] {
//			header <name>
//			query  <name>
//			prefix <text>
//		}
//		help     <text>
//		help_url <url>
//	}
func (k *APIKey) parse(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) > 1:
		return errUsage
	case len(args) == 1 && args[0] == perUser:
		k.PerUser = true
	case len(args) == 1 && placeholderOnly(args[0]) != nil:
		return errLiteral
	case len(args) == 1:
		k.Key = args[0]
	}
	table := place(&k.Header, &k.Query, &k.Prefix)
	where := "api_key"
	if k.PerUser {
		where += " " + perUser
		table["field*"] = option{"field <name> [<label>] { header <name>, or query <name>; prefix <text> }", k.parseField}
		k.UserHelp.addTo(table)
	}
	if err := parseBlock(d, where, table); err != nil {
		return err
	}
	if k.Header != "" && k.Query != "" {
		return d.Err("api_key goes into a header or into a query parameter, not both")
	}
	return nil
}

// perUser stands where the operator's own key would.
const perUser = "per_user"

// place is where a secret goes on a call.
func place(header, query *string, prefix **string) options {
	return options{
		"header": {"header <name>", text(header)},
		"query":  {"query <name>", text(query)},
		"prefix": {`prefix <text>, such as prefix "Key "`, optionalText(prefix)},
	}
}

func (k *APIKey) parseField(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return errUsage
	}
	f := KeyField{Name: args[0]}
	if len(args) == 2 {
		f.Label = args[1]
	}
	err := parseBlock(d, "field "+f.Name, place(&f.Header, &f.Query, &f.Prefix))
	k.Fields = append(k.Fields, f)
	return err
}

func (h *UserHelp) addTo(table options) {
	for name, o := range (options{
		"help":     {`help <text>, such as help "It begins with sk-."`, text(&h.Help)},
		"help_url": {"help_url <url>, such as help_url https://example.com/settings/keys", text(&h.HelpURL)},
	}) {
		table[name] = o
	}
}

// parse reads the option:
//
//	basic <user> <placeholder>
//	basic per_user {
//		username <label>
//		password <label> | off
//		help     <text>
//		help_url <url>
//	}
func (b *Basic) parse(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 2:
		b.Username, b.Password = args[0], args[1]
		return placeholderOnly(b.Password)
	case len(args) != 1 || args[0] != perUser:
		return errUsage
	}
	b.PerUser = true
	table := options{
		"username": {`username <label>, such as username "Account SID"`, text(&b.UsernameLabel)},
		"password": {`password <label>, such as password "Auth token", or password off`, b.parsePassword},
	}
	b.UserHelp.addTo(table)
	return parseBlock(d, "basic "+perUser, table)
}

func (b *Basic) parsePassword(d *caddyfile.Dispenser) error {
	if err := text(&b.PasswordLabel)(d); err != nil {
		return err
	}
	if b.PasswordLabel == "off" {
		b.PasswordLabel, b.NoPassword = "", true
	}
	return nil
}

var errBothKeys = errors.New("it has a key of the operator's, or per_user, not both")

func (k *APIKey) define(d *toolkit.Definition, s *settings) {
	if k.PerUser && k.Key != "" {
		s.err = errBothKeys
	}
	d.Auth = toolkit.AuthDefinition{
		Kind: toolkit.APIKey, PerUser: k.PerUser, Key: s.secret("api_key", k.Key), Header: k.Header, Query: k.Query, Prefix: k.Prefix,
	}
	for _, f := range k.Fields {
		d.Auth.Fields = append(d.Auth.Fields, toolkit.FieldDefinition(f))
	}
	d.Help, d.HelpURL = k.Help, k.HelpURL
}

func (b *Basic) define(d *toolkit.Definition, s *settings) {
	if b.PerUser && (b.Username != "" || b.Password != "") {
		s.err = errBothKeys
	}
	d.Auth = toolkit.AuthDefinition{Kind: toolkit.Basic, PerUser: b.PerUser, Username: s.plain("username", b.Username), Password: s.secret("password", b.Password)}
	if b.PerUser {
		d.Auth.Fields = []toolkit.FieldDefinition{{Name: toolkit.Username, Label: b.UsernameLabel}}
		if !b.NoPassword {
			d.Auth.Fields = append(d.Auth.Fields, toolkit.FieldDefinition{Name: toolkit.Password, Label: b.PasswordLabel})
		}
	}
	d.Help, d.HelpURL = b.Help, b.HelpURL
}
