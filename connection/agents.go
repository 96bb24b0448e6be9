// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connection

import "slices"

// A user decides for each connection which agents may use it. The agent for which they
// connected may; another one of the tenant asks first, on the page that a link opens.

// maxAgents bounds how many names of agents a connection keeps, of those that may use it
// and of those that may not any more. Names come and go with configurations.
const maxAgents = 100

// Admits reports whether an agent may use the connection. several: its tenant has more
// agents than one. A tenant's only agent is whom the user means, and is kept out only
// where they have said so. A list of none is not no list: nobody may.
func (c Connection) Admits(agent string, several bool) bool {
	return admits(c.Agents, c.Barred, agent, several)
}

// Admits is [Connection.Admits].
func (c Choice) Admits(agent string, several bool) bool {
	return admits(c.agents, c.barred, agent, several)
}

func admits(agents, barred []string, agent string, several bool) bool {
	if slices.Contains(barred, agent) {
		return false
	}
	return !several || agents == nil || slices.Contains(agents, agent)
}

// Admit gives c with an agent that may use it. Where all may, none is named.
func (c Connection) Admit(agent string) Connection {
	c.Barred = without(c.Barred, agent)
	if c.Agents != nil && agent != "" {
		c.Agents = with(c.Agents, agent)
	}
	return c
}

// Bar gives c without an agent. all are those that the tenant has: where each might use
// the connection, the others go on doing so.
func (c Connection) Bar(agent string, all []string) Connection {
	if c.Agents == nil {
		for _, other := range all {
			c.Agents = with(c.Agents, other)
		}
	}
	// Never nil, which would be everybody.
	c.Agents = append([]string{}, without(c.Agents, agent)...)
	c.Barred = with(c.Barred, agent)
	return c
}

// DecidedAs gives c with the agents of now, which has stood in its place for a moment: what
// its user has decided meanwhile holds. came is the agent that now was made for, which gets
// out of it what it had in c, unless it is kept out by now.
func (c Connection) DecidedAs(now Connection, came string) Connection {
	agents, barred := now.Agents, now.Barred
	out := slices.Contains(c.Barred, came)
	if !slices.Contains(barred, came) && (out || c.Agents != nil && !slices.Contains(c.Agents, came)) {
		if agents != nil { // never nil out of a list, which would be everybody
			agents = append([]string{}, without(agents, came)...)
		}
		if out {
			barred = with(barred, came)
		}
	}
	c.Agents, c.Barred = agents, barred
	return c
}

// with gives a new list that has name as its last. One that is full loses its first.
func with(names []string, name string) []string {
	all := append(without(names, name), name)
	return all[max(len(all)-maxAgents, 0):]
}

// without gives a new list; lists are shared between copies of a connection.
func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}
