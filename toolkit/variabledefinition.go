// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// variables checks those that are declared.
func (d Definition) variables() (map[string]Variable, error) {
	all := make(map[string]Variable, len(d.Variables))
	for _, name := range slices.Sorted(maps.Keys(d.Variables)) {
		v, err := d.Variables[name].variable()
		if err == nil && !validAlias(name) {
			err = errors.New("a name of lower case letters, digits, _ and -, please")
		}
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
		all[name] = v
	}
	return all, nil
}

func (d VariableDefinition) variable() (Variable, error) {
	v := Variable{From: d.From, Field: d.Field, Label: d.Label, Segment: d.Segment, MaxLength: cmp.Or(d.MaxLength, 64)}
	ask, err := d.question()
	if err != nil {
		return v, err
	}
	if v.Ask = ask; ask != nil && d.Segment == "" {
		v.Label, d.Label = true, true
	}
	kinds := 0
	for _, is := range []bool{len(d.Hosts) > 0, d.Label, d.Segment != ""} {
		if is {
			kinds++
		}
	}
	switch {
	case !slices.Contains([]Source{FromReply, FromCallback, FromLookup, FromUser}, d.From):
		return v, fmt.Errorf("%q is not where a value can be from: token_reply, callback, lookup, asked", d.From)
	case (d.From == FromLookup) != (d.Lookup != ""):
		return v, errors.New("lookup, and nothing else, has an address to ask")
	case ask == nil && d.Field == "" || ask == nil && slices.Contains(strings.Split(d.Field, "."), "") || strings.ContainsFunc(d.Field, func(r rune) bool { return r <= ' ' || r > '~' }):
		return v, fmt.Errorf("%q is not a field or a parameter", d.Field)
	case slices.Contains(notPlaces, d.Field[strings.LastIndexByte(d.Field, '.')+1:]):
		return v, fmt.Errorf("%s is never a part of an address", d.Field)
	case kinds != 1:
		return v, errors.New("say one of host, label and segment, which is what its value is")
	case d.Segment != "" && !slices.Contains([]Characters{Digits, Alphanumeric, IDCharacters}, d.Segment):
		return v, fmt.Errorf("%q are not characters of a segment: digits, alphanumeric, id", d.Segment)
	case v.MaxLength < 1 || v.MaxLength > maxSegment:
		return v, fmt.Errorf("a segment of 1 to %d characters, please", maxSegment)
	}
	if d.Pattern != "" {
		if v.Pattern, v.Dots, err = readPattern(d.Pattern); err != nil {
			return v, err
		}
	}
	if d.Lookup != "" {
		u, err := parseEndpoint("lookup", d.Lookup)
		if err != nil {
			return v, err
		}
		v.Lookup = u
	}
	for _, text := range d.Hosts {
		pattern, err := hostPattern("host", text)
		switch {
		case err != nil:
			return v, err
		case strings.Contains(text, ":"):
			return v, fmt.Errorf("host %q: no port, please", text)
		}
		v.Hosts = append(v.Hosts, pattern)
	}
	return v, nil
}

// notPlaces are secrets, and what belongs to the protocol: an address would be in logs.
var notPlaces = []string{"access_token", "refresh_token", "id_token", "code", "state", "iss", "error"}

// template reads an address in which variables may stand in braces: one as the host, or
// as its first label, and others as whole segments of the path.
func (t *Toolkit) template(setting, text string) (*url.URL, error) {
	return t.templateOf(setting, text, parseURL)
}

// templateOf is template for addresses that parse takes.
func (t *Toolkit) templateOf(setting, text string, parse func(setting, text string) (*url.URL, error)) (*url.URL, error) {
	if !strings.ContainsAny(text, "{}") {
		return parse(setting, text)
	}
	scheme, rest, _ := strings.Cut(text, "://")
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	segments, _, _ := strings.Cut(path, "?") // a query is looked at by who allows one
	if err := t.checkSegments(setting, segments); err != nil {
		return nil, err
	}
	if !strings.ContainsAny(host, "{}") {
		return parse(setting, text)
	}
	host, err := t.templateHost(setting, scheme, host)
	if err != nil {
		return nil, err
	}
	u, err := parse(setting, scheme+"://host.invalid"+path)
	if err == nil {
		u.Host = host
	}
	return u, err
}

func (t *Toolkit) templateHost(setting, scheme, host string) (string, error) {
	name, suffix, ok := variableHost(lower(host))
	v, known := t.Variables[name]
	switch {
	case !ok:
		return "", fmt.Errorf("%s: a variable is the host, or stands before its first dot", setting)
	case !known:
		return "", fmt.Errorf("%s: there is no variable %q", setting, name)
	case scheme != "https":
		return "", fmt.Errorf("%s: where the host is a variable, the address begins with https://", setting)
	case suffix == "" && v.From == FromUser:
		return "", fmt.Errorf("%s: users say a label of the host and never all of it; write behind it what the provider's hosts have in common, such as https://{%s}.example.com", setting, name)
	case suffix == "" && len(v.Hosts) == 0, suffix != "" && !v.Label:
		return "", fmt.Errorf("%s: a host is a variable with host, and its first label one with label; %s is not", setting, name)
	case suffix == "":
		return "{" + name + "}", nil
	case suffix[0] != '.' || !validHost(suffix[1:]) || !strings.Contains(suffix[1:], "."):
		return "", fmt.Errorf("%s: behind the variable, a name with at least two labels and no port, please", setting)
	case !registrable(suffix[1:]):
		return "", fmt.Errorf("%s: below %s everybody can have a name; the one of the provider has to be written out", setting, suffix[1:])
	}
	return "{" + name + "}" + suffix, nil
}

// registrable reports whether a name belongs to somebody: below co.uk, anybody's value
// would be another owner's host. What companies let their customers have names under is
// theirs (the list's private part), and for the operator to judge.
func registrable(name string) bool {
	public, icann := publicsuffix.PublicSuffix(name)
	return !icann || public != name
}

// checkSegments looks at the variables in a path.
func (t *Toolkit) checkSegments(setting, path string) error {
	for segment := range strings.SplitSeq(path, "/") {
		if !strings.ContainsAny(segment, "{}") {
			continue
		}
		name, rest, ok := variableHost(segment)
		v, known := t.Variables[name]
		switch {
		case !ok || rest != "":
			return fmt.Errorf("%s: a variable is a whole segment of a path", setting)
		case !known:
			return fmt.Errorf("%s: there is no variable %q", setting, name)
		case len(v.Hosts) > 0:
			return fmt.Errorf("%s: %s is a host, and not a part of a path", setting, name)
		}
	}
	return nil
}

// checkVariables looks at what only makes sense together.
func (t *Toolkit) checkVariables(d Definition) error {
	if t.Identity != nil {
		if err := t.checkSegments("identity", t.Identity.Path); err != nil {
			return err
		}
	}
	probe, query, _ := strings.Cut(t.Probe, "?")
	if err := t.checkSegments("probe", probe); err != nil {
		return err
	}
	if len(t.Variables) == 0 {
		return nil
	}
	if strings.ContainsAny(query, "{}") {
		return errors.New("probe: a variable is a whole segment of a path")
	}
	if t.OAuth == nil && (!t.Auth.PerUser || len(t.Asked()) < len(t.Variables)) {
		return errors.New("variables are for oauth2, since their values come with a token or a callback; those from asked also for keys that users enter")
	}
	used := d.places()
	for _, name := range slices.Sorted(maps.Keys(t.Variables)) {
		switch v := t.Variables[name]; {
		case !used[name]:
			return fmt.Errorf("the variable %s stands in no address", name)
		case v.From != FromCallback:
			// the provider itself says it, or the user before the provider is asked
		case t.Identity == nil:
			return fmt.Errorf("variable %s: what a callback says has to be proved; say with identity by which call", name)
		case !standsIn(d.BaseURL+t.Identity.Path, name):
			return fmt.Errorf("variable %s: it has to stand in base_url or in the path of identity, whose call proves it", name)
		}
	}
	if t.OAuth != nil {
		t.OAuth.Reply = t.said(FromReply)
	}
	return t.checkAsked()
}

func standsIn(text, name string) bool { return strings.Contains(text, "{"+name+"}") }

// places are the variables that stand somewhere in d.
func (d Definition) places() map[string]bool {
	o := d.OAuth
	texts := append(slices.Collect(maps.Values(d.Hosts)), d.BaseURL, d.Probe, o.AuthorizeURL, o.TokenURL, o.RefreshURL, o.LongLivedURL, o.RevokeURL, o.Issuer)
	if d.Identity != nil {
		texts = append(texts, d.Identity.Path)
	}
	used := map[string]bool{}
	for name := range d.Variables {
		used[name] = slices.ContainsFunc(texts, func(text string) bool { return standsIn(text, name) })
	}
	return used
}

// withVariables is d, after over, with the variables of both. Those of the catalogue that
// stood in an address which over has replaced are left out.
func (d Definition) withVariables(catalogue, over Definition) Definition {
	d.Variables = maps.Clone(catalogue.Variables)
	if d.Variables == nil {
		d.Variables = map[string]VariableDefinition{}
	}
	maps.Copy(d.Variables, over.Variables)
	used := d.places()
	maps.DeleteFunc(d.Variables, func(name string, _ VariableDefinition) bool {
		_, written := over.Variables[name]
		return !written && !used[name]
	})
	if len(d.Variables) == 0 {
		d.Variables = nil
	}
	return d
}
