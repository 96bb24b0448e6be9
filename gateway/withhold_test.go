// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"testing"

	"github.com/toolgate/toolgate/secret"
)

func TestAnAgentsKeyGoesToNoProviderUnderAnyName(t *testing.T) {
	agent := &Agent{Keys: []secret.String{secret.New("tgk_0123456789abcdef"), secret.New("short")}}
	h := http.Header{
		"Private-Token":  {"tgk_0123456789abcdef"},
		"X-Goog-Api-Key": {"other", "Bearer tgk_0123456789abcdef"},
		"X-Note":         {"a short note"},
		"Accept":         {"application/json"},
	}
	agent.withhold(h)
	if len(h) != 2 || h.Get("X-Note") == "" || h.Get("Accept") == "" {
		t.Errorf("left: %v", h)
	}
	var nobody *Agent
	nobody.withhold(h) // where no agent is configured
}
