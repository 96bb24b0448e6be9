// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/secret"
)

// Definition is a toolkit as people write it, in a file of the catalogue or in
// the configuration. What is empty is "not said".
type Definition struct {
	ID      string            `json:"id"`
	Name    string            `json:"name,omitempty"`
	BaseURL string            `json:"base_url,omitempty"`
	Hosts   map[string]string `json:"hosts,omitempty"`   // alias → URL
	Headers map[string]string `json:"headers,omitempty"` // sent on each request
	// Variables stand in braces in addresses, and have another value for each connection.
	Variables map[string]VariableDefinition `json:"variables,omitempty"`
	// RedirectHosts are where the provider keeps its downloads: "host" or "*.host";
	// "off" alone for none.
	RedirectHosts []string `json:"redirect_hosts,omitempty"`

	Auth  AuthDefinition  `json:"auth,omitzero"`
	OAuth OAuthDefinition `json:"oauth2,omitzero"`

	Identity *Identity `json:"identity,omitempty"`
	// Probe is a path, maybe with a query, that answers a GET with any key that is good.
	Probe string `json:"probe,omitempty"`
	// CredentialPaths are where the API mints, exchanges or revokes credentials, as
	// patterns with a method: "POST /auth.revoke". The OAuth endpoints need not be named.
	CredentialPaths []string   `json:"credential_paths,omitempty"`
	Reading         Reading    `json:"reading,omitzero"`
	Throttling      Throttling `json:"throttling,omitzero"`
	// HelpURL is where one registers a client or finds a key, and Help says how.
	Help    string `json:"help,omitempty"`
	HelpURL string `json:"help_url,omitempty"`
	// Sources say where the facts of this file are from.
	Sources []string `json:"sources,omitempty"`

	Times         Times         `json:"-"`
	Sizes         Sizes         `json:"-"`
	Timeout       time.Duration `json:"-"`
	MaxReplay     int64         `json:"-"`
	ExpectAccount []string      `json:"-"`
}

// AuthDefinition says where the credential goes.
type AuthDefinition struct {
	Kind         Kind              `json:"kind,omitempty"`
	PerUser      bool              `json:"per_user,omitempty"`
	Header       string            `json:"header,omitempty"`
	Prefix       *string           `json:"prefix,omitempty"` // nil: "Bearer " in Authorization, else none
	Query        string            `json:"query,omitempty"`
	Refused      *Sign             `json:"refused,omitempty"`
	ScopeMissing *ScopeSign        `json:"scope_missing,omitempty"` // for OAuth
	Fields       []FieldDefinition `json:"fields,omitempty"`        // of a user's own key; none: one

	Key      secret.String `json:"-"`
	Username string        `json:"-"`
	Password secret.String `json:"-"`
}

// Over gives d with everything that over says in its place.
func (d Definition) Over(over Definition) Definition {
	catalogue := d
	d.ID = cmp.Or(over.ID, d.ID)
	d.Name = cmp.Or(over.Name, d.Name)
	d.BaseURL = cmp.Or(over.BaseURL, d.BaseURL)
	d.Hosts = merged(d.Hosts, over.Hosts)
	d.Headers = merged(d.Headers, over.Headers)
	if over.RedirectHosts != nil {
		d.RedirectHosts = over.RedirectHosts
	}
	if over.Auth.Kind != "" && over.Auth.Kind != d.Auth.Kind {
		d.Help, d.HelpURL = "", "" // where to register a client is not where a key is found
	}
	d.Auth = d.Auth.over(over.Auth)
	d.OAuth = d.OAuth.over(over.OAuth)
	d.Identity = cmp.Or(over.Identity, d.Identity)
	d.Probe = cmp.Or(over.Probe, d.Probe)
	d.Help = cmp.Or(over.Help, d.Help)
	d.HelpURL = cmp.Or(over.HelpURL, d.HelpURL)
	d.CredentialPaths = slices.Concat(d.CredentialPaths, over.CredentialPaths)
	d.Reading, d.Throttling = d.Reading.over(over.Reading), d.Throttling.over(over.Throttling)
	d.Times, d.Sizes = cmp.Or(over.Times, d.Times), cmp.Or(over.Sizes, d.Sizes)
	d.Timeout = cmp.Or(over.Timeout, d.Timeout)
	d.MaxReplay = cmp.Or(over.MaxReplay, d.MaxReplay)
	d.ExpectAccount = slices.Concat(d.ExpectAccount, over.ExpectAccount)
	return d.withVariables(catalogue, over)
}

func (a AuthDefinition) over(over AuthDefinition) AuthDefinition {
	if over.Kind != "" && over.Kind != a.Kind {
		return over // another way of authenticating shares nothing with this one
	}
	a.PerUser = a.PerUser || over.PerUser
	a.Refused = cmp.Or(over.Refused, a.Refused)
	a.ScopeMissing = cmp.Or(over.ScopeMissing, a.ScopeMissing)
	if over.Header != "" || over.Query != "" || len(over.Fields) > 0 {
		a.Header, a.Query, a.Prefix, a.Fields = over.Header, over.Query, nil, over.Fields
	}
	a.Prefix = cmp.Or(over.Prefix, a.Prefix)
	a.Key, a.Username, a.Password = over.Key, over.Username, over.Password
	return a
}

func canonical(headers map[string]string) map[string]string {
	all := make(map[string]string, len(headers))
	for name, value := range headers {
		all[textproto.CanonicalMIMEHeaderKey(name)] = value
	}
	return all
}

func merged(base, over map[string]string) map[string]string {
	if len(base)+len(over) == 0 {
		return nil
	}
	all := maps.Clone(base)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, over)
	return all
}

// Toolkit checks d and completes it. An error is a mistake in what was written;
// what is merely not there yet stands in the result's Missing.
func (d Definition) Toolkit() (*Toolkit, error) {
	if !ValidID(d.ID) {
		return nil, fmt.Errorf("%q cannot be a toolkit's name: lower case letters, digits, _ and - only, a letter or digit first, at most 63; and not one of %s", d.ID, strings.Join(Reserved, ", "))
	}
	if d.BaseURL == "" {
		return nil, fmt.Errorf("the catalogue does not know %q, so it needs a base_url", d.ID)
	}
	variables, err := d.variables()
	if err != nil {
		return nil, err
	}
	t := &Toolkit{
		ID: d.ID, Name: cmp.Or(d.Name, d.ID), Variables: variables, Aliases: map[string]*url.URL{}, Headers: canonical(d.Headers),
		Identity: d.Identity, Probe: d.Probe, Timeout: d.Timeout, MaxReplay: cmp.Or(d.MaxReplay, DefaultMaxReplay),
		ExpectAccount: d.ExpectAccount,
	}
	if t.BaseURL, err = t.template("base_url", d.BaseURL); err != nil {
		return nil, err
	}
	for alias, text := range d.Hosts {
		if !validAlias(alias) {
			return nil, fmt.Errorf("%q cannot be the name of a host: lower case letters, digits, _ and - only", alias)
		}
		if t.Aliases[alias], err = t.template("host "+alias, text); err != nil {
			return nil, err
		}
	}
	if t.RedirectHosts, err = hostPatterns(d.RedirectHosts); err != nil {
		return nil, err
	}
	if err := d.checkHeaders(); err != nil {
		return nil, err
	}
	if err := d.checkExpected(); err != nil {
		return nil, err
	}
	if err := d.auth(t); err != nil {
		return nil, err
	}
	if err := d.userKey(t); err != nil {
		return nil, err
	}
	if err := t.checkProbe(); err != nil {
		return nil, err
	}
	if err := t.checkVariables(d); err != nil {
		return nil, err
	}
	if err := t.checkIdentity(); err != nil {
		return nil, err
	}
	if err := d.policy(t); err != nil {
		return nil, err
	}
	slices.Sort(t.Missing)
	return t, nil
}

// checkHeaders refuses here what net/http would refuse on each call, and what
// belongs to the credential or to the gateway.
func (d Definition) checkHeaders() error {
	if err := checkHeaderMap(d.Headers, ownHeaders); err != nil {
		return err
	}
	a := d.Auth
	switch {
	case a.Header != "" && a.Query != "":
		return errors.New("it puts its credential into a header or into a query parameter, not both")
	case a.Header != "" && !validHeader(a.Header):
		return fmt.Errorf("%q is not the name of a header", a.Header)
	case a.Prefix != nil && !validValue(*a.Prefix):
		return errors.New("a prefix without control characters, please")
	}
	return nil
}

func checkHeaderMap(headers map[string]string, own []string) error {
	for name, value := range headers {
		switch {
		case !validHeader(name):
			return fmt.Errorf("%q is not the name of a header", name)
		case !validValue(value):
			return fmt.Errorf("header %s: a value without control characters, please", name)
		case slices.Contains(own, textproto.CanonicalMIMEHeaderKey(name)):
			return fmt.Errorf("header %s cannot be set here; a credential goes into api_key, basic or oauth2", name)
		}
	}
	return nil
}

// ownHeaders are not a toolkit's to set.
var ownHeaders = []string{"Authorization", "Connection", "Content-Length", "Cookie", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// validHeader reports whether name is a token (RFC 9110 §5.6.2).
func validHeader(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return name != ""
}

func validValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func (d Definition) auth(t *Toolkit) error {
	a := d.Auth
	t.Auth = Auth{Kind: a.Kind, PerUser: a.PerUser, Header: a.Header, Query: a.Query, Refused: a.Refused, ScopeMissing: a.ScopeMissing, Key: a.Key, Username: a.Username, Password: a.Password}
	if t.Auth.Header == "" && t.Auth.Query == "" {
		t.Auth.Header = "Authorization"
	}
	if err := cmp.Or(a.Refused.check(), a.ScopeMissing.check()); err != nil {
		return err
	}
	if a.ScopeMissing != nil && a.Kind != OAuth {
		return errors.New("scope_missing: only oauth2 has scopes")
	}
	if a.Prefix != nil || a.Kind != Basic {
		t.Auth.Prefix = prefix(a.Prefix, t.Auth.Header)
	}
	switch a.Kind {
	case NoAuth:
		return nil
	case APIKey:
		t.require("api_key", a.PerUser || !a.Key.IsZero())
		return nil
	case Basic:
		t.require("username", a.PerUser || a.Username != "")
		t.require("password", a.PerUser || !a.Password.IsZero())
		return nil
	case OAuth:
		t.Auth.PerUser = true
		return d.oauth(t)
	case "":
		return errors.New("it does not say how it authenticates: oauth2, api_key, basic or no_auth")
	default:
		return fmt.Errorf("%q is not a kind of authentication: oauth2, api_key, basic, none", a.Kind)
	}
}

// prefix is what stands before a secret in a header.
func prefix(written *string, header string) string {
	switch {
	case written != nil:
		return *written
	case strings.EqualFold(header, "Authorization"):
		return "Bearer "
	}
	return ""
}

func (t *Toolkit) require(setting string, there bool) {
	if !there {
		t.Missing = append(t.Missing, setting)
	}
}

// parseURL takes the address of a host that credentials go to.
func parseURL(setting, text string) (*url.URL, error) {
	u, err := parseEndpoint(setting, text)
	if err == nil && (u.RawQuery != "" || u.ForceQuery) {
		err = fmt.Errorf("%s %q: an address without a query, please", setting, text)
	}
	if err == nil && !safePath(u.Path) {
		err = fmt.Errorf("%s %q: a path without . and .. segments, please", setting, text)
	}
	return u, err
}

func parseEndpoint(setting, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s is not a URL", setting) // text may hold a password, as below
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, fmt.Errorf("%s %q: an address with https:// (or http://) and a host, please", setting, text)
	case u.User != nil:
		return nil, fmt.Errorf("%s: an address without user name and password, please", setting)
	case u.Fragment != "":
		return nil, fmt.Errorf("%s %q: an address without a fragment, please", setting, text)
	}
	return u, nil
}

// Addresses are the hosts, without ports, of every address in d.
func (d Definition) Addresses() []string {
	var hosts, lookups []string
	for _, v := range d.Variables {
		lookups = append(lookups, v.Lookup)
	}
	for _, text := range append(lookups, append([]string{d.BaseURL, d.OAuth.TokenURL, d.OAuth.RefreshURL, d.OAuth.LongLivedURL, d.OAuth.RevokeURL}, slices.Collect(maps.Values(d.Hosts))...)...) {
		if u, err := url.Parse(text); err == nil && u.Hostname() != "" {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}
