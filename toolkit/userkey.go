// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// Field is one of the secrets that make up a user's own key, and where it goes on a
// call. Those of Basic are called Username and Password and go nowhere by themselves.
type Field struct {
	Name   string // in the store and in the form
	Label  string // for people
	Header string
	Query  string // the query parameter instead of a header
	Prefix string // put before the secret as it is
}

// FieldDefinition is a Field as people write it.
type FieldDefinition struct {
	Name   string  `json:"name"`
	Label  string  `json:"label,omitempty"` // "": the name
	Header string  `json:"header,omitempty"`
	Query  string  `json:"query,omitempty"`
	Prefix *string `json:"prefix,omitempty"` // nil: "Bearer " in Authorization, else none
}

// The fields of Basic.
const (
	Username = "username"
	Password = "password"
)

// MaxFields is how many secrets a user can be asked for.
const MaxFields = 5

// Grantee is whom a connection to the toolkit is for, as the connection notes it: the
// OAuth client or, for a user's own key, the form in which it is kept, which is no
// address. What was granted for another one is not used: the parts of a key of two
// fields would be sent where one key belongs, and an OAuth token in a key's place.
func (t *Toolkit) Grantee() (issuer, clientID string) {
	if t.OAuth != nil {
		return t.OAuth.Grantor(), t.OAuth.ClientID
	}
	if len(t.Auth.Fields) < 2 || t.Auth.Kind == Basic {
		return string(t.Auth.Kind), ""
	}
	names := make([]string, 0, len(t.Auth.Fields))
	for _, f := range t.Auth.Fields {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return string(t.Auth.Kind) + ":" + strings.Join(names, ","), ""
}

// Check is the path and the query of the call that shows whether a user's key is good;
// "" where there is none.
func (t *Toolkit) Check() (path, query string) {
	path, query, _ = strings.Cut(t.Probe, "?")
	if path == "" && t.Identity != nil {
		path = t.Identity.Path
	}
	return path, query
}

// userKey completes what a user is asked for.
func (d Definition) userKey(t *Toolkit) error {
	a := &t.Auth
	if !a.PerUser || a.Kind != APIKey && a.Kind != Basic {
		if len(d.Auth.Fields) > 0 {
			return errors.New("fields are for keys that each user enters")
		}
		return nil
	}
	if len(d.Auth.Fields) > 0 && (d.Auth.Header != "" || d.Auth.Query != "" || d.Auth.Prefix != nil) {
		return errors.New("header, query and prefix are for one key; where there are fields, each says its own")
	}
	for _, f := range d.Auth.Fields {
		a.Fields = append(a.Fields, Field{f.Name, f.Label, f.Header, f.Query, prefix(f.Prefix, f.Header)})
	}
	switch {
	case len(a.Fields) > 0:
	case a.Kind == Basic:
		a.Fields = []Field{{Name: Username}, {Name: Password}}
	default:
		a.Fields = []Field{{Name: "key", Label: "API key", Header: a.Header, Query: a.Query, Prefix: a.Prefix}}
	}
	if err := checkFields(a.Kind, a.Fields); err != nil {
		return err
	}
	for i := range a.Fields {
		f := &a.Fields[i]
		f.Label = cmp.Or(f.Label, map[string]string{Username: "User name", Password: "Password"}[f.Name], f.Name)
	}
	if f := a.Fields[0]; a.Kind == APIKey && len(a.Fields) == 1 {
		a.Header, a.Query, a.Prefix = f.Header, f.Query, f.Prefix
	}
	t.Help, t.HelpURL = d.Help, d.HelpURL
	return checkHelp(d.HelpURL)
}

func checkFields(kind Kind, fields []Field) error {
	if len(fields) > MaxFields {
		return fmt.Errorf("at most %d fields, please", MaxFields)
	}
	names, places := map[string]bool{}, map[string]bool{}
	for i, f := range fields {
		// Some servers ignore the case of a parameter's name, and we then replace both.
		place := strings.ToLower("header " + f.Header + " query " + f.Query)
		switch {
		case !validAlias(f.Name):
			return fmt.Errorf("%q cannot be the name of a field: lower case letters, digits, _ and - only", f.Name)
		case names[f.Name]:
			return fmt.Errorf("the field %s is there twice", f.Name)
		case !validValue(f.Label) || !validValue(f.Prefix):
			return fmt.Errorf("field %s: texts without control characters, please", f.Name)
		case kind == Basic && f.Name != [...]string{Username, Password}[min(i, 1)]:
			return errors.New("basic has the fields username and password")
		case kind == Basic:
			// The two go into one header.
		case (f.Header == "") == (f.Query == ""):
			return fmt.Errorf("the field %s goes into a header or into a query parameter: say one of them", f.Name)
		case f.Header != "" && (!validHeader(f.Header) || notForFields(f.Header)):
			return fmt.Errorf("field %s: a key cannot go into a header called %q", f.Name, f.Header)
		case places[place]:
			return fmt.Errorf("the field %s goes where another one goes", f.Name)
		}
		names[f.Name], places[place] = true, true
	}
	return nil
}

// notForFields: HTTP's own headers. Authorization is one that keys do go into.
func notForFields(header string) bool {
	name := textproto.CanonicalMIMEHeaderKey(header)
	return name != "Authorization" && slices.Contains(ownHeaders, name)
}

// checkHelp: the page links to it, so it may be nothing that runs.
func checkHelp(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return errors.New("help_url: an address with https:// and a host, please")
	}
	return nil
}

// checkProbe tells a mistake when the configuration is loaded and not each user.
func (t *Toolkit) checkProbe() error {
	if t.Probe == "" {
		return nil
	}
	path, query := t.Check()
	_, err := t.Target(path, query)
	bad := strings.ContainsFunc(t.Probe, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' })
	if err != nil || bad || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("probe %q: a path below base_url, please, such as /v1/me", t.Probe)
	}
	return nil
}
