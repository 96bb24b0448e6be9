// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connection_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
)

func TestATokenIsUsableUntilItsTimeHasPassed(t *testing.T) {
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	token := secret.New("t")
	for _, c := range []struct {
		conn connection.Connection
		want bool
		why  string
	}{
		{connection.Connection{Status: connection.Active, AccessToken: token}, true, "no end was said"},
		{connection.Connection{Status: connection.Active, AccessToken: token, ExpiresAt: now.Add(1)}, true, "the last moment"},
		{connection.Connection{Status: connection.Active, AccessToken: token, ExpiresAt: now}, false, "the end itself"},
		{connection.Connection{Status: connection.Active, AccessToken: token, ExpiresAt: now.In(time.FixedZone("east", 3600)).Add(1)}, true, "zones do not matter"},
		{connection.Connection{Status: connection.Active}, false, "there is no token"},
		{connection.Connection{Status: connection.Inactive, AccessToken: token}, false, "switched off"},
		{connection.Connection{AccessToken: token}, false, "no status at all"},
	} {
		if got := c.conn.Usable(now); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

func TestAConnectionPrintsNoToken(t *testing.T) {
	c := connection.Connection{AccessToken: secret.New("hunter2"), RefreshToken: secret.New("hunter3")}
	if text := fmt.Sprintf("%v %+v %#v %s", c, &c, c, []any{c}); strings.Contains(text, "hunter") {
		t.Error(text)
	}
}
