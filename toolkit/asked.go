// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Question is what users are asked for a variable that they say themselves, before they
// are sent to the provider: without it nobody knows where that is.
type Question struct {
	Label         string // what it is called, for people
	Example       string // what they may enter
	Help, HelpURL string // where they find it; may be missing
}

// maxHeard is what is looked at of what somebody has pasted, in bytes.
const maxHeard = 2048

// Asked are the variables whose values users say.
func (t *Toolkit) Asked() map[string]Variable { return t.said(FromUser) }

// At is the toolkit for a user who has said these values: its authorization server is
// theirs. Where the API is may not be known yet, see For. A toolkit that asks nothing is
// itself.
func (t *Toolkit) At(said map[string]string) (*Toolkit, error) {
	fill, err := t.filling(said)
	switch {
	case err != nil:
		return nil, err
	case fill == nil || t.OAuth == nil:
		return t, nil
	}
	own := *t
	own.OAuth = t.OAuth.at(fill)
	return &own, nil
}

// filling puts what a user has said into texts. nil: there is nothing to be said, or it is
// not what it may be.
func (t *Toolkit) filling(said map[string]string) (func(string) string, error) {
	var names []string
	for name, v := range t.Variables { // on the way of each call
		if v.From != FromUser {
			continue
		}
		if kept, ok := v.Accept(said[name]); !ok || kept != said[name] {
			return nil, fmt.Errorf("%w: %s", ErrVariable, name)
		}
		names = append(names, name)
	}
	if names == nil {
		return nil, nil
	}
	return fillIn(names, said), nil
}

// GranteeOf is whom a connection with these values is for: see Grantee. Where users say
// which server it is, that one has granted it, and another user's has nothing to do with it.
func (t *Toolkit) GranteeOf(values map[string]string) (issuer, clientID string) {
	issuer, clientID = t.Grantee()
	if fill, _ := t.filling(values); fill != nil && t.OAuth != nil {
		issuer = fill(issuer)
	}
	return issuer, clientID // with braces in it, it is no connection's
}

// fillIn puts values that were accepted into a text.
func fillIn(names []string, values map[string]string) func(string) string {
	var pairs []string
	for _, name := range names {
		pairs = append(pairs, "{"+name+"}", values[name])
	}
	return strings.NewReplacer(pairs...).Replace
}

// at is o with what stands in braces filled in.
func (o *OAuth2) at(fill func(string) string) *OAuth2 {
	own := *o
	for _, text := range []*string{&own.Issuer, &own.AuthorizeURL, &own.TokenURL, &own.RefreshURL, &own.LongLivedURL, &own.RevokeURL} {
		*text = fill(*text)
	}
	own.CallbackClaims = make(map[string]string, len(o.CallbackClaims))
	for parameter, text := range o.CallbackClaims {
		own.CallbackClaims[parameter] = fill(text)
	}
	return &own
}

// Hear reads what a user has entered for a variable. People copy addresses: where one of
// the toolkit's stands around a value, as in https://acme.example.com/start, that is the
// value. Anything else has to be a value by itself.
func (t *Toolkit) Hear(name, text string) (value string, ok bool) {
	v, known := t.Variables[name]
	if !known || len(text) > maxHeard {
		return "", false
	}
	text = strings.TrimSpace(text)
	for f := range t.forms() {
		if said, there := f.find(name, text); there {
			// As the pattern may admit dots, all of the text could be a value as well.
			return v.Accept(said)
		}
	}
	return v.Accept(text)
}

// form is an address as the operator wrote it, with variables in braces.
type form struct{ scheme, host, path string }

func formOf(text string) form {
	scheme, rest, _ := strings.Cut(text, "://")
	rest, _, _ = strings.Cut(rest, "?")
	host, path := cutHost(rest)
	return form{scheme, host, path}
}

// cutHost ends a host where any program would.
func cutHost(text string) (host, path string) {
	if i := strings.IndexAny(text, "/?#"); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}

// forms are all addresses of the toolkit in which variables may stand.
func (t *Toolkit) forms() func(yield func(form) bool) {
	return func(yield func(form) bool) {
		for u := range t.addresses() {
			if !yield(form{u.Scheme, u.Host, cmp.Or(u.RawPath, u.Path)}) {
				return
			}
		}
		if t.OAuth == nil {
			return
		}
		for _, text := range append([]string{t.OAuth.AuthorizeURL}, t.OAuth.TokenEndpoints()...) {
			if !yield(formOf(text)) {
				return
			}
		}
	}
}

// find is what stands at the place of a variable in an address that somebody has entered,
// if it is one of this form as far as there.
func (f form) find(name, text string) (said string, ok bool) {
	for _, scheme := range []string{"https://", "http://"} {
		if len(text) > len(scheme) && lower(text[:len(scheme)]) == scheme {
			text = text[len(scheme):]
			break
		}
	}
	host, path := cutHost(text)
	host = lower(host)
	own, suffix, varies := variableHost(f.host)
	if varies && own == name && suffix != "" {
		return strings.CutSuffix(host, suffix)
	}
	if host != f.host && (!varies || suffix == "" || !strings.HasSuffix(host, suffix)) {
		return "", false
	}
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	there := strings.Split(path, "/")
	for i, segment := range strings.Split(f.path, "/") {
		switch {
		case i >= len(there):
			return "", false
		case segment == "{"+name+"}":
			return there[i], true
		case segment != there[i] && !strings.HasPrefix(segment, "{"):
			return "", false
		}
	}
	return "", false
}

// MayAsk reports whether u, but for its query, is an address of the authorization server
// that some user may have: the client's secret is sent there, and nowhere else.
func (t *Toolkit) MayAsk(u *url.URL) bool {
	if t.OAuth == nil || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return false
	}
	for _, text := range t.OAuth.TokenEndpoints() {
		values := map[string]string{}
		for name, v := range t.Asked() {
			if said, there := formOf(text).find(name, bare(u)); there {
				if value, ok := v.Accept(said); ok && value == said {
					values[name] = value
				}
			}
		}
		own, err := url.Parse(fillIn(slices.Collect(maps.Keys(values)), values)(text))
		if err == nil && bare(own) == bare(u) {
			return true
		}
	}
	return false
}

// bare is an address without its query.
func bare(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// AuthorizePlace is the address of the page where users agree, to tell them and their
// browser beforehand. Where they have not said yet which host that is, it begins with "*.".
func (o *OAuth2) AuthorizePlace() *url.URL {
	f := formOf(o.AuthorizeURL)
	if _, suffix, varies := variableHost(f.host); varies {
		f.host = "*" + suffix
	}
	return &url.URL{Scheme: f.scheme, Host: f.host}
}
