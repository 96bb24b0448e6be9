// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	// unusedEvery is how often connections are looked through that nobody uses. It
	// is no more than a small part of any time after which providers forget.
	unusedEvery = time.Hour
	// unusedPace is between two renewals.
	unusedPace = time.Second
)

// renewUnused renews connections before the provider forgets their refresh tokens.
// Every gateway on a store does; whoever comes second finds nothing to do.
func (a *App) renewUnused(ctx context.Context) {
	ticker := time.NewTicker(unusedEvery)
	defer ticker.Stop()
	for {
		a.renewUnusedOnce(ctx, unusedPace)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (a *App) renewUnusedOnce(ctx context.Context, pace time.Duration) {
	e, err := a.use()
	if err != nil {
		return // whoever calls is told
	}
	defer a.leave()
	for _, id := range sortedKeys(a.toolkits) {
		tk := a.toolkits[id].toolkit
		if tk.OAuth == nil || tk.OAuth.RefreshUnused <= 0 || tk.Draft() {
			continue
		}
		renewed, err := e.credentials.RenewUnused(ctx, tk, tk.OAuth.RefreshUnused, pace)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.log.Warn("renewing connections that nobody uses", zap.String("toolkit", id), zap.Int("renewed", renewed), zap.Error(err))
		case renewed > 0:
			a.log.Info("renewed connections that nobody uses", zap.String("toolkit", id), zap.Int("renewed", renewed))
		}
	}
}
