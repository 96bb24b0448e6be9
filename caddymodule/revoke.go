// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/toolgate/toolgate/caller"
)

// revokeEvery is how often grants are looked for whose provider could not be told yet
// that they were taken back.
const revokeEvery = time.Minute

func (a *App) retryRevocations(ctx context.Context) {
	ticker := time.NewTicker(revokeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.retryRevocationsOnce(ctx)
		}
	}
}

func (a *App) retryRevocationsOnce(ctx context.Context) {
	e, err := a.use()
	if err != nil {
		return // whoever calls is told
	}
	defer a.leave()
	if e.connect == nil {
		return
	}
	done, left, err := e.connect.RetryRevocations(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.log.Warn("taking back grants at their providers", zap.Int("done", done), zap.Error(err))
	case done > 0 || left > 0:
		a.log.Info("took back grants at their providers", zap.Int("done", done), zap.Int("left", left))
	}
}

// tenants are those of the agents.
func (a *App) tenants() []string {
	var all []string
	for _, g := range a.agentList() {
		all = append(all, g.Tenant)
	}
	if len(all) == 0 {
		all = []string{caller.DefaultTenant}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
