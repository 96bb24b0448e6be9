// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache"
)

// logCall writes a line for each call: debug where all went well, info where the
// agent can do something, warn where the operator should look.
func (a *App) logCall(e gateway.Event) {
	level, message := zapcore.DebugLevel, "call"
	switch {
	case e.Status >= 500 && e.Code != problem.CircuitOpen: // which has a line of its own, once
		level, message = zapcore.WarnLevel, "call failed"
	case e.Code != "":
		level, message = zapcore.InfoLevel, "call refused"
	}
	c := a.log.Check(level, message)
	if c == nil {
		return
	}
	fields := []zap.Field{
		zap.String("request_id", e.RequestID), zap.String("tenant", e.Caller.Tenant), zap.String("agent", e.Caller.Agent),
		zap.String("user", e.Caller.User), zap.String("toolkit", e.Toolkit), zap.String("method", e.Method),
		zap.Int("status", e.Status), zap.Duration("took", e.Took),
	}
	if e.Code != "" {
		fields = append(fields, zap.String("code", string(e.Code)), zap.String("step", e.Step), zap.String("rule", e.Rule))
	}
	if e.Renewed {
		fields = append(fields, zap.Bool("renewed", true))
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err)) // the cause alone; what was said to the agent holds the link
	}
	c.Write(fields...)
}

// logToken writes a line for each event of a connection's token.
func (a *App) logToken(e tokencache.Event) {
	message := map[tokencache.EventKind]string{
		tokencache.Refreshed:   "token refreshed",
		tokencache.Failed:      "token refresh failed for the time being",
		tokencache.Ended:       "connection ended: the provider refuses it, the user has to connect again",
		tokencache.Interrupted: "an earlier refresh was cut off between the provider and the store; its refresh token may be spent",
		tokencache.Unsaved:     "a new token could not be saved and is held in memory",
		tokencache.Rejected:    "the provider refused a token that was just renewed",
		tokencache.Narrowed:    "the provider renewed a token for fewer scopes than before",
		tokencache.Strayed:     "the token endpoint names an address that the toolkit's variables do not allow; the connection stays where it is",
		tokencache.Misplaced:   "the provider refused the OAuth client; check client_id and client_secret",
	}[e.Kind]
	level := zapcore.WarnLevel
	if e.Kind == tokencache.Refreshed {
		level = zapcore.InfoLevel
	}
	c := a.log.Check(level, message)
	if c == nil {
		return
	}
	fields := []zap.Field{zap.String("tenant", e.Key.Tenant), zap.String("user", e.Key.User), zap.String("toolkit", e.Key.Toolkit)}
	if !e.ExpiresAt.IsZero() {
		fields = append(fields, zap.Duration("took", e.Took), zap.String("good_for", time.Until(e.ExpiresAt).Round(time.Second).String()))
	}
	if len(e.Scopes) > 0 {
		fields = append(fields, zap.Strings("scopes_missing", e.Scopes))
	}
	if len(e.Variables) > 0 {
		fields = append(fields, zap.Strings("variables", e.Variables))
	}
	if e.IntentID != "" {
		fields = append(fields, zap.String("intent", e.IntentID))
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	c.Write(fields...)
}

// logConnect writes a line for each event of a connect flow.
func (a *App) logConnect(e connect.Event) {
	level := zapcore.InfoLevel
	if e.Err != nil || e.What == "refused" || e.What == "cancelled" {
		level = zapcore.WarnLevel
	}
	if c := a.log.Check(level, "connect: "+e.What); c != nil {
		c.Write(
			zap.String("request_id", e.RequestID), zap.String("tenant", e.Tenant), zap.String("agent", e.Agent),
			zap.String("user", e.User), zap.String("toolkit", e.Toolkit), zap.String("reason", e.Reason), zap.Error(e.Err),
		)
	}
}
