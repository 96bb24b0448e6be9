// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"time"

	"github.com/toolgate/toolgate/connection"
)

// EventKind says what happened to a connection.
type EventKind string

// The events.
const (
	Refreshed   EventKind = "refreshed"    // a new access token was got and saved
	Failed      EventKind = "failed"       // a passing fault; the connection stays as it is
	Ended       EventKind = "ended"        // the provider refused for good; the user has to connect
	Interrupted EventKind = "interrupted"  // an earlier refresh did not come to its end; the refresh token may be spent
	Unsaved     EventKind = "unsaved"      // a new token could not be saved and is held in memory
	Rejected    EventKind = "rejected"     // the provider refused a token that was just renewed
	Narrowed    EventKind = "narrowed"     // the new access token is for fewer scopes than the one before
	Strayed     EventKind = "strayed"      // the answer names an address that the toolkit does not allow; the old one stays
	Misplaced   EventKind = "client_error" // the provider refused the operator's client
)

// Event is for logs and metrics. It holds no secret.
type Event struct {
	Kind      EventKind
	Key       connection.Key
	Took      time.Duration
	ExpiresAt time.Time // of the new token
	IntentID  string
	Scopes    []string // that were lost
	Variables []string // that strayed
	Err       error
}

func (c *Source) tell(e Event) {
	if c.observe != nil {
		c.observe(e)
	}
}
