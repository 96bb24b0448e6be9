// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Grant is what a user granted somewhere else, so that nobody has to connect again.
type Grant struct {
	Tenant       string
	User         string
	Toolkit      string
	Account      string // a person's name for the account, such as an e-mail address
	AccessToken  secret.String
	RefreshToken secret.String
	ExpiresAt    time.Time // zero: not known
	Scopes       []string  // nil: not known
	// Variables are the values for those in the toolkit's addresses.
	Variables map[string]string
}

// Format is a way to write grants down.
type Format string

// The formats.
const (
	JSONLines Format = "jsonl" // our own, see ParseGrant
	Nango     Format = "nango" // what Nango's API answers, see nangoGrant
)

// Formats are all formats.
var Formats = []Format{JSONLines, Nango}

// grantLine is one line of our own format.
type grantLine struct {
	User         string          `json:"user"`
	Toolkit      string          `json:"toolkit"`
	Tenant       string          `json:"tenant"`
	AccessToken  string          `json:"access_token"`
	RefreshToken string          `json:"refresh_token"`
	ExpiresAt    json.RawMessage `json:"expires_at"`
	Scopes       json.RawMessage `json:"scopes"`
	Account      string          `json:"account"`

	Variables map[string]string `json:"variables"`
}

// ParseGrant reads one JSON object. Its errors quote nothing of it: whatever stands in
// the wrong place may be a token.
func ParseGrant(format Format, text []byte) (Grant, error) {
	if len(text) == 0 {
		return Grant{}, ErrTooLong // see Split
	}
	var g Grant
	var err error
	switch format {
	case JSONLines:
		g, err = ourGrant(text)
	case Nango:
		g, err = nangoGrant(text)
	default:
		return Grant{}, fmt.Errorf("the format %q is not known", format)
	}
	if err != nil {
		return Grant{}, err
	}
	return g, g.check()
}

func ourGrant(text []byte) (Grant, error) {
	var l grantLine
	if err := strictly(text, &l); err != nil {
		return Grant{}, err
	}
	g := Grant{
		Tenant: l.Tenant, User: l.User, Toolkit: l.Toolkit, Account: l.Account,
		AccessToken: secret.New(l.AccessToken), RefreshToken: secret.New(l.RefreshToken), Variables: l.Variables,
	}
	return g, errors.Join(parseTime(l.ExpiresAt, &g.ExpiresAt), parseScopes(l.Scopes, &g.Scopes))
}

// strictly refuses fields that are not known: a misspelled refresh_token would be a
// connection that ends within the hour.
func strictly(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	switch {
	case err == nil && d.More():
		return errors.New("more than one JSON object")
	case err == nil:
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s has the wrong type", wrong.Field)
	}
	if _, unknown, ok := strings.Cut(err.Error(), "json: unknown field "); ok {
		if fieldName.MatchString(unknown) {
			return fmt.Errorf("the field %s is not known", unknown)
		}
		return errors.New("a field is not known whose name does not look like one")
	}
	return errors.New("not a JSON object")
}

// fieldName is what a misspelled field looks like, and what a token in its place does not.
var fieldName = regexp.MustCompile(`^"[a-z_]{1,24}"$`)

// check looks at what every grant needs.
func (g Grant) check() error {
	switch {
	case g.User == "":
		return errors.New("user is missing")
	case !caller.ValidUser(g.User):
		return errors.New("user cannot be a user's id: 1 to 256 printable ASCII characters without spaces and commas")
	case g.Tenant != "" && !caller.ValidName(g.Tenant):
		return errors.New("tenant cannot be a tenant's name: letters, digits and . _ -")
	case g.AccessToken.IsZero() && g.RefreshToken.IsZero():
		return errors.New("neither access_token nor refresh_token")
	case len(g.AccessToken.Reveal()) > vault.MaxToken || len(g.RefreshToken.Reveal()) > vault.MaxToken:
		return fmt.Errorf("a token has more than %d bytes", vault.MaxToken)
	case !printable(g.AccessToken.Reveal()) || !printable(g.RefreshToken.Reveal()):
		return errors.New("a token has characters that no header can carry")
	case len(g.Account) > 320:
		return errors.New("account is too long")
	}
	return nil
}

func printable(token string) bool {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}

// parseTime takes RFC 3339, Unix seconds and Unix milliseconds.
func parseTime(text json.RawMessage, to *time.Time) error {
	if empty(text) {
		return nil
	}
	var at time.Time
	if json.Unmarshal(text, &at) == nil {
		// What is in the year 9999 here may be in the year 10000 in UTC, which cannot
		// be written down any more.
		if *to = at.UTC(); to.Year() < 1 || to.Year() > 9999 {
			return errors.New("expires_at is in no year from 1 to 9999")
		}
		return nil
	}
	var number float64
	if json.Unmarshal(text, &number) != nil || number < 1e8 || number > 1e14 {
		return errors.New("expires_at is neither a time such as 2026-11-20T06:30:00Z nor Unix seconds")
	}
	if number > 1e11 { // seconds until the year 5138
		number /= 1000
	}
	*to = time.Unix(int64(number), 0).UTC()
	return nil
}

// parseScopes takes a list, or one text with spaces or commas (RFC 6749 §3.3 and its
// dialects).
func parseScopes(text json.RawMessage, to *[]string) error {
	if empty(text) {
		return nil
	}
	var list []string
	if json.Unmarshal(text, &list) == nil {
		*to = list
		return nil
	}
	var joined string
	if json.Unmarshal(text, &joined) != nil {
		return errors.New("scopes is neither a list nor a text")
	}
	*to = strings.FieldsFunc(joined, func(r rune) bool { return r == ' ' || r == ',' })
	return nil
}

func empty(text json.RawMessage) bool {
	return len(text) == 0 || string(text) == "null" || string(text) == `""`
}
