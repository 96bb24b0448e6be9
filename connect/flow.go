// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/tokencache/vault"
	"github.com/toolgate/toolgate/toolkit"
)

// flow is one trip to a provider and back. It is stored under the hash of its
// state and read once.
type flow struct {
	LinkID      string    `json:"link"`
	Toolkit     string    `json:"toolkit"`
	Verifier    string    `json:"verifier"` // PKCE, for this trip alone
	RedirectURI string    `json:"redirect_uri"`
	ClientID    string    `json:"client_id"`
	Issuer      string    `json:"issuer"`
	Browser     string    `json:"browser"` // hash of the browser that started
	Started     time.Time `json:"started"`

	version uint64
}

const (
	flowLife   = 10 * time.Minute
	stateBytes = 24
)

// begin stores a new flow and gives the address to send the browser to.
func (s *Service) begin(ctx context.Context, l *link, tk *toolkit.Toolkit, browser string) (address string, err error) {
	state := random(stateBytes)
	f := flow{
		LinkID: l.ID, Toolkit: tk.ID, Verifier: oauth.NewVerifier(), RedirectURI: RedirectURI(s.cfg.PublicURL, tk.ID),
		ClientID: tk.OAuth.ClientID, Issuer: tk.OAuth.Grantor(), Browser: hash(browser), Started: s.cfg.Now(),
	}
	address, err = oauth.AuthorizeURL(tk.OAuth, f.RedirectURI, state, f.Verifier)
	if err != nil {
		return "", fmt.Errorf("making the authorize URL: %w", err)
	}
	text, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("writing a flow: %w", err)
	}
	err = s.cfg.Vault.Put(ctx, vault.Document{Name: flowName(state), Plain: text, Version: 1, Expires: f.Started.Add(flowLife)})
	if err != nil {
		return "", fmt.Errorf("writing a flow: %w", err)
	}
	return address, nil
}

// flowOf reads the flow with this state.
func (s *Service) flowOf(ctx context.Context, state string) (*flow, error) {
	d, err := s.cfg.Vault.Get(ctx, flowName(state))
	if err != nil {
		return nil, err
	}
	f := &flow{version: d.Version}
	if err := json.Unmarshal(d.Plain, f); err != nil {
		return nil, fmt.Errorf("reading a flow: %w", err)
	}
	return f, nil
}

// claim makes the caller the only one to go on with a flow: of two callbacks with
// one state, from a double click or a thief, one gets past here.
func (s *Service) claim(ctx context.Context, state string, f *flow) error {
	return s.cfg.Vault.Delete(ctx, flowName(state), f.version)
}

func flowName(state string) string { return vault.Name("flow", hash(state)) }
