// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/secret"
)

// Agent is a program that may call.
type Agent struct {
	// The keys that prove the agent, as placeholders. Several while one is being
	// replaced. The agent sends one as `X-Toolgate-Key`, as a Bearer token, or
	// wherever its SDK puts an API key.
	Keys []string `json:"keys,omitempty"`

	// The tenant whose users the agent acts for. Users of two tenants never
	// meet, whatever their ids. Default: `default`.
	Tenant string `json:"tenant,omitempty"`

	// The toolkits that the agent may use. Default: all.
	Toolkits []string `json:"toolkits,omitempty"`

	// The agent may name any user of its tenant in `X-User-Id`. Anyone with its
	// key can then act as any of them.
	ActsForAny bool `json:"acts_for_any,omitempty"`

	// The users whom the agent may name in `X-User-Id`. Default: none.
	ActsFor []string `json:"acts_for,omitempty"`

	// Addresses of your application that the agent may have users sent to when they
	// have connected, by the header `X-Toolgate-Callback`. What the agent sends has to
	// be one of them letter for letter. https, except on this machine. The address gets
	// `status` (connected, denied, failed or cancelled) and `toolkit`. Default: none.
	CallbackURLs []string `json:"callback_urls,omitempty"`

	// What the agent's keys are good for: `call` toolkits, `connect` (links in refusals,
	// and how a connection stands), `mint` sessions for the users of acts_for. Default:
	// `call connect`.
	Rights []string `json:"rights,omitempty"`

	// Which calls the agent may make, by toolkit; `*` is for all of them. These rules
	// hold beside the toolkits' own. Default: all that the toolkits allow.
	Rules map[string]*Rules `json:"rules,omitempty"`

	// How many calls the agent may make, to all toolkits together. Default: as many as it
	// likes.
	Limits []*Limit `json:"limits,omitempty"`

	keys []secret.String
}

const maxCallbackURL = 2048

// checkCallbackURL tells what is wrong with an address that users are to be sent to. It
// is strict: what two parsers read in two ways may lead to another place than the
// operator believes.
func checkCallbackURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsAny(text, "*\\ {}"):
		return errors.New("an address such as https://app.example.com/connected, please, without wildcards")
	case len(text) > maxCallbackURL:
		return fmt.Errorf("at most %d characters, please: it is in tokens and addresses", maxCallbackURL)
	case u.Scheme == "http" && !gateway.LoopbackHost(u.Host):
		return errors.New("https, please (http is fine on this machine)")
	case u.User != nil:
		return errors.New("without a user name, please")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return errors.New("without a fragment, please: the part after # never reaches your server")
	case u.String() != text || u.Hostname() == "" || u.Host != strings.ToLower(u.Host):
		return errors.New("written in its plain form, please, such as https://app.example.com/connected")
	}
	for name := range u.Query() {
		if name == "status" || name == "toolkit" {
			return errors.New("without " + name + ", please: Toolgate adds it")
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
