// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"maps"
	"slices"

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

	keys []secret.String
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
