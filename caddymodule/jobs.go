// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/custody"
	"github.com/toolgate/toolgate/policy"
	"github.com/toolgate/toolgate/tokencache/seal"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// workplace is what a job is done with: the running gateway's things, or a command's
// own where none runs. Jobs are the same in both.
type workplace struct {
	app       *App
	store     store.Store
	ring      *seal.Ring
	vault     *vault.Vault
	connected func(connection.Connection) // tells the cache, where there is one
	audit     *audit.Writer
	// people gives and takes back connections.
	people *connect.Service
	policy *policy.State // nil where no gateway runs
}

// jobs are all that commands can ask for. Each is one step, so that it is answered
// soon, and may be done again.
var jobs = map[string]func(context.Context, *workplace, []byte) (any, error){
	"about":              job(about),
	"keys/survey":        job(surveyKeys),
	"keys/rotate":        job(rotateKeys),
	"keys/reseal":        job(resealRecords),
	"keys/abandon":       job(abandonRecords),
	"keys/restore":       job(restoreRecords),
	"store/take":         job(takeRecords),
	"store/give":         job(giveRecords),
	"store/compare":      job(compareRecords),
	"connections/import": job(importGrants),
	"connections/add":    job(addConnection),
	"connections/list":   job(findConnections),
	"breakers/list":      job(findBreakers),
	"breakers/reset":     job(closeBreakers),
	"explain":            job(explainCall),
	"links/list":         job(findLinks),
	"links/revoke":       job(endLinks),
	"sessions/revoke":    job(endSessions),
	"users/links":        job(endLinksOf),
	"users/traces":       job(removeTraces),
	"users/forget":       job(forgetUser),
}

func job[In, Out any](work func(context.Context, *workplace, In) (Out, error)) func(context.Context, *workplace, []byte) (any, error) {
	return func(ctx context.Context, p *workplace, body []byte) (any, error) {
		var in In
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields() // a newer command must not be half understood
		if err := d.Decode(&in); err != nil {
			// JSON's own error could quote what was sent.
			return nil, errors.New("the gateway does not understand this command: is it of another version?")
		}
		return work(ctx, p, in)
	}
}

func do(ctx context.Context, p *workplace, name string, body []byte) (json.RawMessage, error) {
	work := jobs[name]
	if work == nil {
		return nil, fmt.Errorf("the gateway does not know the job %q: is it of another version?", name)
	}
	result, err := work(ctx, p, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

func (p *workplace) desk() *custody.Desk { return custody.New(p.store, p.ring, nil) }

// aboutAnswer tells a command whether it has found the gateway that it looks for.
type aboutAnswer struct {
	// Store is as storeID makes it.
	Store string `json:"store"`
	// Keys are ids, the primary's first.
	Keys []string `json:"keys"`
	// Waiting is the primary of the key file where that has changed since it was read.
	Waiting string `json:"waiting,omitempty"`
}

func about(_ context.Context, p *workplace, _ struct{}) (aboutAnswer, error) {
	a := aboutAnswer{Store: storeID(p.app.opener), Keys: p.ring.IDs()}
	if now, err := p.app.ring(); err == nil && !slices.Equal(now.IDs(), a.Keys) && now.PrimaryID() != a.Keys[0] {
		a.Waiting = now.PrimaryID()
	}
	return a, nil
}

// storeID tells stores apart and says nothing about them: a pool key may name hosts.
func storeID(opener StoreOpener) string {
	sum := sha256.Sum256([]byte(opener.PoolKey()))
	return hex.EncodeToString(sum[:])
}

func surveyKeys(ctx context.Context, p *workplace, step custody.Step) (custody.Survey, error) {
	return p.desk().Survey(ctx, step)
}

// rotation is what rotateKeys did.
type rotation struct {
	// File is where the keys are.
	File string `json:"file"`
	// Keys are ids, the new primary's first.
	Keys []string `json:"keys"`
}

// rotateKeys is done by who has the file open: its owner, and the only one who does.
func rotateKeys(_ context.Context, p *workplace, _ struct{}) (rotation, error) {
	file := p.app.opener.KeyFile()
	if p.app.EncryptionKey != "" || file == "" {
		return rotation{}, errors.New("the key is not in a file of Toolgate's own")
	}
	ring, err := seal.Rotate(file)
	if err != nil {
		return rotation{}, err
	}
	p.app.log.Info("the key file has a new first key, which is taken at the next reload", zap.String("file", file), zap.String("key", ring.PrimaryID()))
	return rotation{file, ring.IDs()}, nil
}

func resealRecords(ctx context.Context, p *workplace, step custody.Step) (custody.Resealed, error) {
	return p.desk().Reseal(ctx, step)
}

// ofKey is a step over the records of one key.
type ofKey struct {
	custody.Step
	// ID is that of the key.
	ID string `json:"id"`
}

func abandonRecords(ctx context.Context, p *workplace, in ofKey) (custody.Moved, error) {
	done, err := p.desk().Abandon(ctx, in.ID, in.Step)
	if done.Moved > 0 {
		p.app.log.Warn("records of a key that is lost were set aside; their users have to connect again", zap.String("key", in.ID), zap.Int("records", done.Moved))
	}
	return done, err
}

func restoreRecords(ctx context.Context, p *workplace, in ofKey) (custody.Moved, error) {
	return p.desk().Restore(ctx, in.ID, in.Step)
}

func takeRecords(ctx context.Context, p *workplace, step custody.Step) (custody.Taken, error) {
	return p.desk().Take(ctx, step)
}

// delivery is records on their way into a store.
type delivery struct {
	// Records are sealed as they were.
	Records []custody.Record `json:"records"`
	// Force replaces other records of the same name.
	Force bool `json:"force,omitempty"`
}

func giveRecords(ctx context.Context, p *workplace, in delivery) (custody.Given, error) {
	if p.vault != nil { // there is none where the keys are not known
		if err := p.vault.Check(ctx); err != nil {
			return custody.Given{}, err
		}
	}
	return p.desk().Give(ctx, in.Records, in.Force)
}

func compareRecords(ctx context.Context, p *workplace, in delivery) (custody.Given, error) {
	return p.desk().Compare(ctx, in.Records)
}
