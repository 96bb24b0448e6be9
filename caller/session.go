// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caller

import (
	"slices"
	"time"
)

// Session is what a session token stands for: one user at one agent, for a while.
type Session struct {
	ID     string // 26 letters and digits
	Tenant string
	Agent  string
	User   string
	// Toolkits that may be called with it; nil: all that the agent may use.
	Toolkits []string
	// NoLinks: a refusal carries no link. Who gave the session out has a page of its own.
	NoLinks bool
	// CallbackURL is where the user's browser goes after connecting; "": nowhere.
	CallbackURL string
	Issued      time.Time // to the millisecond
	Expires     time.Time // to the second
}

// Right is something that an agent's key is good for.
type Right string

// The rights. Where the operator names none, an agent has Call and Connect.
const (
	Call    Right = "call"    // calls to toolkits
	Connect Right = "connect" // links in refusals, and how a connection stands
	Mint    Right = "mint"    // sessions
)

// Rights are all that there are.
var Rights = [...]Right{Call, Connect, Mint}

// May reports whether the session is for that toolkit. Without a session, nothing is
// held back.
func (s *Session) May(toolkitID string) bool {
	return s == nil || s.Toolkits == nil || slices.Contains(s.Toolkits, toolkitID)
}

// Only is the one toolkit that the session is for; "" where there are several.
func (s *Session) Only() string {
	if s == nil || len(s.Toolkits) != 1 {
		return ""
	}
	return s.Toolkits[0]
}
