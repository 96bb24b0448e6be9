// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/secret"
)

func (a *App) provisionPublicURL() error {
	if a.PublicURL == "" {
		return nil
	}
	u, err := a.checkPublicURL()
	if err != nil {
		return err
	}
	text, local := u.String(), gateway.LoopbackHost(u.Host)
	switch {
	case a.VerifyUser == nil && !local:
		return fmt.Errorf("public_url %q can be opened by others, so say with verify_user how Toolgate knows that a link is opened by the user it is for (caddy_auth, oidc, jwt or callback); `verify_user none` means that you accept whoever opens it", text)
	case a.VerifyUser != nil:
		if err := a.VerifyUser.provision(a.log, connect.SignInURI(u)); err != nil {
			return err
		}
		if a.VerifyUser.By == "none" && !local {
			a.log.Warn("verify_user none: whoever opens a link first connects an account of theirs, and the agent uses it for the user", zap.String("public_url", text))
		}
	}
	a.publicURL, a.localOnly = u, a.VerifyUser == nil
	return nil
}

func (a *App) provisionAgentsURL() (err error) {
	a.agentsURL = a.publicURL
	if a.AgentsURL != "" {
		a.agentsURL, err = a.checkAgentsURL()
	}
	return err
}

// checkAgentsURL allows http: inside a network of containers, agents reach the gateway by
// a name of that network.
func (a *App) checkAgentsURL() (*url.URL, error) {
	return checkURL("agents_url", a.AgentsURL, "https://tools.example.com")
}

func checkURL(option, text, example string) (*url.URL, error) {
	text, err := resolved(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%s %q: an address such as %s, please", option, text, example)
	}
	return u, nil
}

func (a *App) checkPublicURL() (*url.URL, error) {
	u, err := checkURL("public_url", a.PublicURL, "https://connect.example.com")
	if err != nil {
		return nil, err
	}
	if text := u.String(); u.Scheme == "http" && !gateway.LoopbackHost(u.Host) {
		return nil, fmt.Errorf("public_url %q: https, please: users' browsers keep the cookies that protect a connection for https only (http is fine on this machine)", text)
	}
	return u, nil
}

func (a *App) checkLanguage() error {
	if a.Language != "" && !slices.Contains(connect.Languages(), a.Language) {
		return fmt.Errorf("language %q: there is no such; there are: %v", a.Language, connect.Languages())
	}
	return nil
}

// check looks at what needs nothing but the agent itself.
func (g *Agent) check(name string) error {
	switch {
	case !caller.ValidName(name):
		return fmt.Errorf("agent %q: a name of letters, digits and . _ - please", name)
	case name == caller.LocalAgent:
		return fmt.Errorf("agent %q: that is what calls of this machine are called where no agent is configured; another name, please", name)
	case g.Tenant != "" && !caller.ValidName(g.Tenant):
		return fmt.Errorf("agent %s: tenant %q: a name of letters, digits and . _ - please", name, g.Tenant)
	}
	for _, user := range g.ActsFor {
		if !caller.ValidUser(user) {
			return fmt.Errorf("agent %s: acts_for %q cannot be a user's id", name, user)
		}
	}
	for _, right := range g.Rights {
		if !slices.Contains(caller.Rights[:], caller.Right(right)) {
			return fmt.Errorf("agent %s: rights: there is no right %q; there are: %v", name, right, caller.Rights)
		}
	}
	for _, address := range g.CallbackURLs {
		if err := checkCallbackURL(address); err != nil {
			return fmt.Errorf("agent %s: callback_urls %q: %w", name, address, err)
		}
	}
	return nil
}

// provisionAgents checks the agents and reads their keys. A key whose variable is not set yet
// leaves the agent unable to call, and says so; it never opens the gateway.
func (a *App) provisionAgents() error {
	owner := map[string]string{}
	for _, name := range sortedKeys(a.Agents) {
		agent := a.Agents[name]
		if err := agent.check(name); err != nil {
			return err
		}
		for _, id := range agent.Toolkits {
			if a.Toolkits[id] == nil {
				return fmt.Errorf("agent %s: there is no toolkit %q in this configuration", name, id)
			}
		}
		if !agent.ActsForAny && len(agent.ActsFor) == 0 {
			a.log.Warn("an agent has no acts_for, so every call of its is refused", zap.String("agent", name))
		}
		if err := agent.provision(name, owner, a.log); err != nil {
			return err
		}
	}
	return nil
}

func (g *Agent) provision(name string, owner map[string]string, log *zap.Logger) error {
	for _, text := range g.Keys {
		if err := placeholderOnly(text); err != nil {
			return fmt.Errorf("agent %s: key: %w", name, err)
		}
		key, err := resolved(text)
		switch {
		case err != nil:
			return fmt.Errorf("agent %s: key: %w", name, err)
		case key == "":
			log.Warn("an agent's key is empty, so the agent cannot call with it", zap.String("agent", name), zap.String("key", text))
			continue
		case len(key) < 16:
			log.Warn("an agent's key is short; 16 characters or more, please", zap.String("agent", name))
		}
		if other, taken := owner[key]; taken {
			return fmt.Errorf("agents %s and %s have the same key", other, name)
		}
		owner[key] = name
		g.keys = append(g.keys, secret.New(key))
	}
	if len(g.keys) == 0 {
		log.Warn("an agent has no key, so it cannot call", zap.String("agent", name))
	}
	return nil
}

func (g *Agent) rights() (all []caller.Right) {
	for _, right := range g.Rights {
		all = append(all, caller.Right(right))
	}
	return all
}

func (a *App) agentList() []gateway.Agent {
	var list []gateway.Agent
	for _, name := range sortedKeys(a.Agents) {
		g := a.Agents[name]
		tenant := g.Tenant
		if tenant == "" {
			tenant = caller.DefaultTenant
		}
		list = append(list, gateway.Agent{
			Name: name, Tenant: tenant, Keys: g.keys, Toolkits: g.Toolkits, ActsForAny: g.ActsForAny, ActsFor: g.ActsFor,
			CallbackURLs: g.CallbackURLs, Rights: g.rights(),
		})
	}
	return list
}

// resolved replaces the placeholders of an option. An unset variable and a missing
// file give "": what that means is for the option to say.
func resolved(text string) (string, error) { return resolvedBy(caddy.NewReplacer(), text) }

func resolvedBy(r *caddy.Replacer, text string) (string, error) {
	value, err := r.ReplaceOrErr(text, false, true)
	if err != nil {
		return "", fmt.Errorf("%q has a placeholder that Caddy does not know: {env.NAME} and {file./path} are possible", text)
	}
	return value, nil
}

var onePlaceholder = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

var errLiteral = errors.New("a secret has to be a placeholder, {env.NAME} or {file./path}: one that is written out (or put in by {$NAME}) can be read in /config/ and in Caddy's saved configuration")

// placeholderOnly refuses secrets that are written out.
func placeholderOnly(text string) error {
	if !onePlaceholder.MatchString(text) {
		return errLiteral // which does not quote it
	}
	return nil
}

func auditWriter(to string) io.WriteCloser {
	switch to {
	case "stderr":
		return nopCloser{os.Stderr}
	case "discard":
		return nopCloser{io.Discard}
	case "":
		return audit.NewFile(dataFile("audit.log"))
	default:
		return audit.NewFile(to)
	}
}

type nopCloser struct{ io.Writer }

// Close leaves the writer open: it is not ours.
func (nopCloser) Close() error { return nil }

func dataFile(name string) string { return filepath.Join(caddy.AppDataDir(), "toolgate", name) }
