// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"fmt"
	"time"
)

// Status says what a connection is good for.
type Status string

// The statuses of a connection. NotConnected is only ever shown, never stored.
const (
	NotConnected Status = "not_connected"
	Added        Status = "added"              // set up, and the user has not begun to connect
	Pending      Status = "pending"            // the link was opened, nothing is granted yet
	Active       Status = "active"             // works, as far as we know
	Expired      Status = "expired"            // the provider refused the refresh
	Insufficient Status = "insufficient_scope" // works, but not for what was asked
	Inactive     Status = "inactive"           // switched off
	Revoked      Status = "revoked"            // taken back
	Error        Status = "error"              // the provider keeps refusing the token
)

// Reason says in one word why a user is asked to connect.
type Reason string

// The reasons that agents see beside a status.
const (
	NoConnection     Reason = "no_connection"
	ConnectPending   Reason = "connect_pending"
	RefreshRejected  Reason = "refresh_rejected"
	NoRefreshToken   Reason = "token_expired" // and the provider gave nothing to refresh with
	ProviderRejected Reason = "provider_rejected_token"
	GrantMoved       Reason = "provider_config"    // granted for another client, issuer or host
	ScopeMissing     Reason = "insufficient_scope" // the provider wants a scope that was not granted
	SwitchedOff      Reason = "connection_inactive"
	TakenBack        Reason = "revoked"
	NotApproved      Reason = "agent_not_approved" // the user has not let this agent use it
)

// Happening is what happens to a connection.
type Happening string

// What may happen. Which status follows is said in one table, and nowhere else.
const (
	Staged       Happening = "staged"        // it was set up before anything was granted
	Opened       Happening = "opened"        // the user has begun to connect
	Abandoned    Happening = "abandoned"     // and did not come to the end
	Granted      Happening = "granted"       // the user has connected, for the first time or again
	Renewed      Happening = "renewed"       // the provider gave a newer token
	RefreshEnded Happening = "refresh_ended" // the provider refused the refresh for good
	TokenRefused Happening = "token_refused" // the provider refused new tokens on several paths
	ScopeLacking Happening = "scope_lacking" // the provider wants a scope that was not granted
	SwitchOff    Happening = "switch_off"    // the user wants it to rest
	SwitchOn     Happening = "switch_on"     // and to be used again
	Withdrawn    Happening = "withdrawn"     // the grant was taken back at the provider
)

// transitions are all that is allowed. A status that is not there for a happening is
// not left by it, and the happening is refused.
//
// What has ended is not switched off: nothing uses it, and switched on again it would
// seem to work. What rests stays at rest when a refresh that was under way comes to its
// end, and only the user, who switches it on or connects again, ends that.
var transitions = map[Happening]map[Status]Status{
	Staged:    {NotConnected: Added},
	Opened:    {NotConnected: Pending, Added: Pending, Pending: Pending},
	Abandoned: {Pending: Added},
	Granted: {
		NotConnected: Active, Added: Active, Pending: Active, Active: Active, Expired: Active,
		Insufficient: Active, Inactive: Active, Revoked: Active, Error: Active,
	},
	Renewed:      {Active: Active, Insufficient: Insufficient, Inactive: Inactive, Expired: Active, Error: Active},
	RefreshEnded: {Active: Expired, Insufficient: Expired},
	TokenRefused: {Active: Error, Insufficient: Error},
	ScopeLacking: {Active: Insufficient, Insufficient: Insufficient},
	SwitchOff:    {Active: Inactive, Insufficient: Inactive, Error: Inactive},
	SwitchOn:     {Inactive: Active},
	Withdrawn:    {Active: Revoked, Insufficient: Revoked, Expired: Revoked, Inactive: Revoked, Error: Revoked},
}

// After gives the status that follows. A connection without one has just been made.
func (s Status) After(h Happening) (next Status, allowed bool) {
	if s == "" {
		s = NotConnected
	}
	next, allowed = transitions[h][s]
	return next, allowed
}

// TransitionError is a happening that a connection's status does not allow.
type TransitionError struct {
	From Status
	What Happening
}

// Error implements error.
func (e *TransitionError) Error() string {
	return fmt.Sprintf("a connection that is %s cannot be %s", e.From, e.What)
}

// After gives c as it is after something has happened at that time, and why it is not
// active then. The error is a [*TransitionError], and c as it was.
func (c Connection) After(h Happening, why Reason, at time.Time) (Connection, error) {
	next, allowed := c.Status.After(h)
	if !allowed {
		return c, &TransitionError{c.Status, h}
	}
	c.Status, c.Reason, c.UpdatedAt = next, why, at
	return c, nil
}
