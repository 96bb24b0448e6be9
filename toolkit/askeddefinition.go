// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxQuestion = 80  // characters of a label
	maxHelp     = 300 // characters of a help
)

// question checks what users are asked.
func (d VariableDefinition) question() (*Question, error) {
	if d.From != FromUser {
		if d.Ask != "" || d.Example != "" || d.Help != "" || d.HelpURL != "" || d.Pattern != "" {
			return nil, errors.New("example, help, help_url and pattern are for what users are asked: from asked \"…\"")
		}
		return nil, nil
	}
	switch {
	case d.Field != "" || d.Lookup != "":
		return nil, errors.New("what users say has no field and no lookup")
	case len(d.Hosts) > 0:
		// Whoever opens a link could have the client's secret sent to any of them.
		return nil, errors.New("users never say a whole host: write label here, and in addresses what stands behind it, such as https://{shop}.example.com")
	case !shown(d.Ask, maxQuestion) || d.Ask == "":
		return nil, fmt.Errorf("from asked needs what the page calls it, of 1 to %d characters, such as from asked \"Your shop's name\"", maxQuestion)
	case !shown(d.Example, maxQuestion) || !shown(d.Help, maxHelp):
		return nil, fmt.Errorf("example and help: printable texts of at most %d and %d characters, please", maxQuestion, maxHelp)
	}
	return &Question{d.Ask, d.Example, d.Help, d.HelpURL}, checkHelp(d.HelpURL)
}

// shown reports whether a text can stand on a page.
func shown(text string, longest int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= longest && strings.TrimSpace(text) == text &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// checkAsked completes the questions once all addresses are known.
func (t *Toolkit) checkAsked() error {
	asked := t.Asked()
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		v := asked[name]
		q := *v.Ask
		if q.Example == "" {
			q.Example = t.example(name)
		}
		if _, ok := t.Hear(name, q.Example); !ok {
			return fmt.Errorf("variable %s: %q is not what users may enter; give with example one that they may", name, q.Example)
		}
		v.Ask = &q
		t.Variables[name] = v
	}
	return nil
}

// example is one that is made of where the variable stands.
func (t *Toolkit) example(name string) string {
	value := "your-" + strings.ReplaceAll(name, "_", "-")
	for f := range t.forms() {
		if own, suffix, varies := variableHost(f.host); varies && own == name {
			return value + suffix
		}
	}
	return value
}

// plainHost writes the host of an address in one way, where there is a variable in it: what
// is compared with it later is in lower case.
func plainHost(text string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	if host, path := cutHost(rest); strings.Contains(host, "{") {
		return scheme + "://" + lower(host) + path
	}
	return text
}

// checkEndpoint looks at an address of the authorization server. Of variables, only what
// users say can stand there: all others are known when it has answered.
func (t *Toolkit) checkEndpoint(setting, text string) error {
	if !strings.ContainsAny(text, "{}") {
		_, err := parseEndpoint(setting, text)
		return err
	}
	u, err := t.templateOf(setting, text, parseEndpoint)
	if err != nil {
		return err
	}
	if strings.ContainsAny(u.RawQuery, "{}") {
		return fmt.Errorf("%s: a variable is a label of the host or a whole segment of the path, and does not stand in the query", setting)
	}
	return t.onlyAsked(setting, text)
}

func (t *Toolkit) onlyAsked(setting, text string) error {
	for name, v := range t.Variables {
		if standsIn(text, name) && v.From != FromUser {
			return fmt.Errorf("%s: only what users are asked (from asked) can stand here; %s is known when the provider has answered", setting, name)
		}
	}
	return nil
}

// checkCallback looks at what a callback has to bear.
func (t *Toolkit) checkCallback(o OAuthDefinition) error {
	names := slices.Sorted(maps.Keys(o.CallbackClaims))
	for _, parameter := range append(names, o.CallbackHMAC) {
		if slices.Contains(notPlaces, parameter) || strings.ContainsFunc(parameter, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("callback_claim and callback_hmac name a parameter of the provider's own, and %q is none", parameter)
		}
	}
	switch {
	case o.CallbackHMAC != "" && o.AuthStyle == StyleNone:
		return errors.New("callback_hmac is keyed with the client's secret, and with auth_style none there is none")
	case slices.Contains(names, "") || o.CallbackHMAC != "" && slices.Contains(names, o.CallbackHMAC):
		return errors.New("callback_claim: a parameter that is not the one of callback_hmac, please")
	}
	for _, parameter := range names {
		text := o.CallbackClaims[parameter]
		rest := text
		for name := range t.Asked() {
			rest = strings.ReplaceAll(rest, "{"+name+"}", "")
		}
		if text == "" || strings.ContainsAny(rest, "{}") {
			return fmt.Errorf("callback_claim %s: what it has to be, please, where variables from asked may stand in braces, such as callback_claim shop {shop}.example.com", parameter)
		}
	}
	if o.Issuer != "" && strings.ContainsAny(o.TokenURL, "{}") && !strings.ContainsAny(o.Issuer, "{}") {
		return errors.New("issuer names one server, and token_url another one for each user: leave issuer out, or write the variable in it too")
	}
	return nil
}
