// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Reading says which calls change nothing. Paths are patterns as in rules.
type Reading struct {
	// Methods read, except at Writes. None, where the method says nothing.
	Methods []string `json:"methods,omitempty"`
	// Reads read all the same, and Writes do not: "POST /v1/search", "* /users.list".
	Reads  []string `json:"reads,omitempty"`
	Writes []string `json:"writes,omitempty"`
	// GraphQL are paths whose bodies say it: queries read, mutations do not.
	GraphQL []string `json:"graphql,omitempty"`
}

// Throttle is a way in which the provider says: not so fast. An answer with status 429
// needs none.
type Throttle struct {
	Status int `json:"status"`
	// Header has to be in the answer, with Value where that is set.
	Header string `json:"header,omitempty"`
	Value  string `json:"value,omitempty"`
	// Body has to be in the answer's JSON, which may be small alone.
	Body string `json:"body,omitempty"`
	// Reset is a header that says when it is over, in Unit; Retry-After comes first.
	Reset string    `json:"reset,omitempty"`
	Unit  ResetUnit `json:"unit,omitempty"`
	// PauseSeconds is how long where nothing says it.
	PauseSeconds int `json:"pause_seconds,omitempty"`
}

// ResetUnit is how a provider writes the end of a cool-down.
type ResetUnit string

// The units.
const (
	ResetAt       ResetUnit = "epoch"    // seconds since 1970, also where nothing is said
	ResetAtMillis ResetUnit = "epoch_ms" // milliseconds since 1970
	ResetAfter    ResetUnit = "seconds"  // from now
)

// Throttling is how a provider's rate limits show.
type Throttling struct {
	Signs []Throttle `json:"signs,omitempty"`
	// Shared: the provider has a limit for all of a client's users together.
	Shared bool `json:"shared,omitempty"`
	// PerPath: each path has a limit of its own, such as Slack's methods.
	PerPath bool `json:"per_path,omitempty"`
}

// Known reports whether anything is said.
func (r Reading) Known() bool {
	return len(r.Methods)+len(r.Reads)+len(r.Writes)+len(r.GraphQL) > 0
}

func (r Reading) over(over Reading) Reading {
	if over.Known() {
		return over
	}
	return r
}

func (t Throttling) over(over Throttling) Throttling {
	if len(over.Signs) > 0 {
		t.Signs = over.Signs
	}
	t.Shared, t.PerPath = t.Shared || over.Shared, t.PerPath || over.PerPath
	return t
}

// Times bound the phases of a call. Zero: unbounded, but for Header, which is
// [Toolkit.Timeout], and Connect, which is the transport's.
type Times struct {
	Connect time.Duration
	Idle    time.Duration // between two pieces of the answer's body
	Total   time.Duration // from the sending to the end of the answer
}

// Sizes bound what goes through, in bytes. Zero: unbounded.
type Sizes struct{ Request, Response int64 }

func (t *Throttle) check() error {
	switch {
	case t.Status < 400 || t.Status > 599:
		return errors.New("a sign of a rate limit has a status from 400 to 599")
	case t.Status != http.StatusTooManyRequests && t.Header == "" && t.Body == "":
		return fmt.Errorf("status %d alone is no sign of a rate limit: name the header or the text that it comes with", t.Status)
	case t.Header != "" && !validHeader(t.Header), t.Reset != "" && !validHeader(t.Reset):
		return errors.New("a sign of a rate limit has the names of headers")
	case t.PauseSeconds < 0 || t.PauseSeconds > 3600:
		return errors.New("a pause of up to an hour, please")
	case t.Unit != "" && !slices.Contains([]ResetUnit{ResetAt, ResetAtMillis, ResetAfter}, t.Unit):
		return fmt.Errorf("%q is not how the end of a rate limit is written: epoch, epoch_ms, seconds", t.Unit)
	}
	t.Header, t.Reset = textproto.CanonicalMIMEHeaderKey(t.Header), textproto.CanonicalMIMEHeaderKey(t.Reset)
	return nil
}

// policy checks and completes what policies need to know.
func (d Definition) policy(t *Toolkit) error {
	t.Reading, t.Throttling = d.Reading, d.Throttling
	t.Throttling.Signs = slices.Clone(d.Throttling.Signs)
	for i := range t.Throttling.Signs {
		if err := t.Throttling.Signs[i].check(); err != nil {
			return err
		}
	}
	t.CredentialPaths = slices.Concat(d.CredentialPaths, d.ownEndpoints(t))
	t.Times, t.Sizes = d.Times, d.Sizes
	return nil
}

// ownEndpoints are the provider's token endpoints where agents could reach them: with a
// user's token some of them mint another, or end this one.
func (d Definition) ownEndpoints(t *Toolkit) (patterns []string) {
	if t.OAuth == nil {
		return nil
	}
	for _, address := range []string{d.OAuth.TokenURL, d.OAuth.RefreshURL, d.OAuth.LongLivedURL, d.OAuth.RevokeURL} {
		u, err := t.template("", address)
		if err != nil { // it has {client_id}, which is no variable
			if u, err = url.Parse(address); err != nil {
				continue // checked where it belongs
			}
		}
		if path, ok := t.Local(u); ok && address != "" && path != "" && path != "/" {
			patterns = append(patterns, "* "+strings.ReplaceAll(strings.ReplaceAll(path, "%7B", "{"), "%7D", "}"))
		}
	}
	slices.Sort(patterns)
	return slices.Compact(patterns)
}
