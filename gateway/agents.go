// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
)

// Agent is a program that may call.
type Agent struct {
	Name   string
	Tenant string
	// Keys prove the agent; several while one is being replaced.
	Keys []secret.String
	// Toolkits that it may call; nil: all.
	Toolkits []string
	// ActsForAny: for every user of the tenant. Otherwise for those in ActsFor.
	ActsForAny bool
	ActsFor    []string
	// Rights are what its keys are good for; nil: calls and links.
	Rights []caller.Right
	// CallbackURLs are where the agent may have users sent after connecting.
	CallbackURLs []string
}

// KeyPrefix marks agent keys that Toolgate makes, for secret scanners and so that a
// key that is not known any more is still seen to be meant for us.
const KeyPrefix = "tgk_"

func (a *Agent) may(toolkitID string) bool {
	return a.Toolkits == nil || slices.Contains(a.Toolkits, toolkitID)
}

func (a *Agent) has(right caller.Right) bool {
	if a.Rights == nil {
		return right == caller.Call || right == caller.Connect
	}
	return slices.Contains(a.Rights, right)
}

func (a *Agent) actsFor(user string) bool {
	return a.ActsForAny || slices.Contains(a.ActsFor, user)
}

// guessable is the length below which a key may stand in a header by chance, in bytes.
const guessable = 16

// withhold takes out every header that holds one of the agent's keys, or a session's
// token. SDKs have their own names for where a key goes (Private-Token, X-Goog-Api-Key),
// and a developer who sets ours there too would send it to the provider.
func (a *Agent) withhold(h http.Header) {
	if a == nil {
		return
	}
	for name, values := range h {
		if slices.ContainsFunc(values, HoldsToken) {
			delete(h, name)
		}
	}
	for _, key := range a.Keys {
		plain := key.Reveal()
		if len(plain) < guessable {
			continue
		}
		for name, values := range h {
			if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, plain) }) {
				delete(h, name)
			}
		}
	}
}

// withheldFrom is the query without the parameters that hold one of the agent's keys, or a
// session's token: some SDKs put theirs there.
func (a *Agent) withheldFrom(query string) string {
	if a == nil || query == "" {
		return query
	}
	if HoldsToken(query) {
		query = strings.Join(slices.DeleteFunc(strings.Split(query, "&"), HoldsToken), "&")
	}
	for _, key := range a.Keys {
		if plain := key.Reveal(); len(plain) >= guessable && echoes(query, []string{plain}) {
			pairs := strings.Split(query, "&")
			query = strings.Join(slices.DeleteFunc(pairs, func(p string) bool { return echoes(p, []string{plain}) }), "&")
		}
	}
	return query
}

// agents finds an agent by the hash of its key. A map of hashes leaks nothing by
// its timing: who does not know the key cannot steer the hash.
type agents map[[sha256.Size]byte]*Agent

func indexAgents(list []Agent) agents {
	index := agents{}
	for i := range list {
		for _, key := range list[i].Keys {
			index[sha256.Sum256([]byte(key.Reveal()))] = &list[i]
		}
	}
	return index
}

func (a agents) find(key string) *Agent { return a[sha256.Sum256([]byte(key))] }

// proof is what a request has shown: a key of an agent that is known, or a session's
// token, or neither where it was meant for us.
type proof struct {
	agent *Agent
	token string
}

// prove finds the proof: X-Toolgate-Key, else Authorization, else x-api-key. SDKs always
// send some Authorization, so a value there that is not ours is a placeholder and is
// ignored; where two are ours and disagree, one of them was smuggled in.
func (a agents) prove(h http.Header) (proof, error) {
	var proven proof
	meant := false
	key, user := sdkKey(h.Get("Authorization"))
	for i, text := range [...]string{h.Get("X-Toolgate-Key"), key, user, h.Get("X-Api-Key")} {
		if text == "" {
			continue
		}
		p := a.read(text)
		if p == (proof{}) && i > 0 && !strings.HasPrefix(text, KeyPrefix) {
			continue
		}
		if meant && p != proven {
			return proof{}, problem.New(problem.Conflicting, "two_proofs", "Two headers hold different keys for the gateway. Send one.")
		}
		proven, meant = p, true
	}
	if proven == (proof{}) {
		return proof{}, unknownAgent("agent_key", "The gateway does not know this agent. Send the agent's key, or a session's token, as X-Toolgate-Key, as a Bearer token, or as the SDK's API key.")
	}
	return proven, nil
}

func (a agents) read(text string) proof {
	if strings.HasPrefix(text, SessionPrefix) {
		return proof{token: text}
	}
	return proof{agent: a.find(text)}
}

func unknownAgent(rule, detail string) error {
	p := problem.New(problem.UnknownAgent, rule, detail)
	p.Challenge = `Bearer realm="toolgate"`
	return p
}

// sdkKey takes the key out of an Authorization header, in the ways that SDKs put
// their API key there: Bearer, token, bare, or one half of Basic. Which half is the
// provider's habit, and the other one is empty, a word such as "api", or an "x".
func sdkKey(authorization string) (key, basicUser string) {
	scheme, rest, spaced := strings.Cut(authorization, " ")
	if !spaced {
		return authorization, ""
	}
	if strings.EqualFold(scheme, "Basic") {
		r := http.Request{Header: http.Header{"Authorization": {authorization}}}
		user, password, _ := r.BasicAuth()
		return password, user
	}
	return strings.TrimSpace(rest), ""
}

// MayCallBack reports whether the caller's agent may have users sent to an address. It
// has to be one that the operator wrote, letter for letter: whatever is compared in
// another way can be led to another place (RFC 9700 §4.1.1).
func (g *Gateway) MayCallBack(who caller.Caller, address string) bool {
	a := g.agentOf(who)
	return a != nil && slices.Contains(a.CallbackURLs, address)
}

// May reports whether the caller's agent may use a toolkit, and the session if there is one.
func (g *Gateway) May(who caller.Caller, toolkitID string) bool {
	if len(g.cfg.Agents) == 0 {
		return true // everybody who got here is local
	}
	a := g.agentOf(who)
	return a != nil && a.may(toolkitID) && who.Session.May(toolkitID)
}

// agentOf is the caller's agent as it is configured; nil where it is not, any more.
func (g *Gateway) agentOf(who caller.Caller) *Agent {
	for i := range g.cfg.Agents {
		if a := &g.cfg.Agents[i]; a.Name == who.Agent && a.Tenant == who.Tenant {
			return a
		}
	}
	return nil
}

func crowds(list []Agent) map[string]int {
	count := map[string]int{}
	for i := range list {
		count[list[i].Tenant]++
	}
	return count
}

// Several reports whether a tenant has more agents than one, so that its users say which
// of them may use what they connect.
func (g *Gateway) Several(tenant string) bool { return g.crowds[tenant] > 1 }

// Entitled gives the names of the tenant's agents that the operator lets act for a user
// and use a toolkit.
func (g *Gateway) Entitled(tenant, user, toolkitID string) (names []string) {
	for i := range g.cfg.Agents {
		if a := &g.cfg.Agents[i]; a.Tenant == tenant && a.may(toolkitID) && a.actsFor(user) {
			names = append(names, a.Name)
		}
	}
	return names
}
