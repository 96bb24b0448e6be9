// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// Vault keeps answers for who sends a request again; *vault.Vault is one.
type Vault interface {
	Get(ctx context.Context, name string) (vault.Document, error)
	Put(ctx context.Context, d vault.Document) error
}

const onceHeader = "Idempotency-Key"

// maxKey is the longest Idempotency-Key, in bytes.
const maxKey = 255

// given is an answer that was given, sealed in the store.
type given struct {
	Request string `json:"request"` // hash of the body
	Status  int    `json:"status"`
	Body    []byte `json:"body"`
}

// once does something and answers; a request that comes again with the same
// Idempotency-Key (draft-ietf-httpapi-idempotency-key-header) gets the same answer for as
// long as that is good for something, from whichever gateway. Of two that come at once,
// what the first has saved is the answer to both.
func (s *Service) once(v *visit, request []byte, do func() (status int, body []byte, until time.Time, err error)) error {
	keys := v.r.Header[onceHeader]
	switch {
	case len(keys) == 0:
		status, body, _, err := do()
		if err != nil {
			return err
		}
		return v.answer(status, body)
	case len(keys) > 1 || keys[0] == "" || len(keys[0]) > maxKey:
		return badRequest("idempotency_key", "Idempotency-Key has to be one text of 1 to 255 characters.")
	}
	sum := sha256.Sum256([]byte(keys[0]))
	name := vault.Name("once", v.who.Tenant, v.who.Agent, hex.EncodeToString(sum[:]))
	body := sha256.Sum256(append([]byte(v.r.Method+" "+v.r.URL.Path+"\n"), request...))
	digest := hex.EncodeToString(body[:])
	if g, err := s.givenBefore(v.r.Context(), name); err != nil || g != nil {
		return v.again(g, digest, err)
	}
	status, text, until, err := do()
	if err != nil {
		return err
	}
	plain, _ := json.Marshal(given{digest, status, text})
	err = s.cfg.Vault.Put(v.r.Context(), vault.Document{Name: name, Plain: plain, Version: 1, Expires: until})
	if errors.Is(err, store.ErrConflict) {
		g, err := s.givenBefore(v.r.Context(), name)
		if err == nil && g == nil {
			err = store.ErrConflict
		}
		return v.again(g, digest, err)
	}
	if err != nil {
		return vault.Problem(err)
	}
	return v.answer(status, text)
}

func (s *Service) givenBefore(ctx context.Context, name string) (*given, error) {
	d, err := s.cfg.Vault.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g := new(given)
	if err := json.Unmarshal(d.Plain, g); err != nil {
		return nil, vault.ErrMalformed
	}
	return g, nil
}

func (v *visit) again(g *given, digest string, err error) error {
	switch {
	case err != nil:
		return vault.Problem(err)
	case g.Request != digest:
		p := badRequest("idempotency_key", "This Idempotency-Key was used for another request. Send a new one.")
		p.Status = 422
		return p
	}
	v.w.Header().Set("Idempotent-Replayed", "true")
	return v.answer(g.Status, g.Body)
}

// TraceOf reports whether a record holds something of a user, for when that one is
// forgotten. open gives what is in it; nil where that cannot be read.
func TraceOf(tenant, user, name string, open func() []byte) bool {
	if !strings.HasPrefix(name, vault.Name("once", tenant)+"/") {
		return false
	}
	var g given
	var answer struct {
		User string `json:"user"`
	}
	return json.Unmarshal(open(), &g) == nil && json.Unmarshal(g.Body, &answer) == nil && answer.User == user
}
