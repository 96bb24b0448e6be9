// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/tokencache/store"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// flow is one trip to a provider and back. It is stored under the hash of its
// state and good for one callback.
type flow struct {
	LinkID      string `json:"link"`
	Toolkit     string `json:"toolkit"`
	Verifier    string `json:"verifier,omitempty"` // PKCE, for this trip alone
	RedirectURI string `json:"redirect_uri"`
	ClientID    string `json:"client_id"`
	Issuer      string `json:"issuer"`
	Browser     string `json:"browser"` // hash of the browser that started
	// Asked is what the user has said for the toolkit's variables, before they left: an
	// answer that comes back is from the server that this names.
	Asked map[string]string `json:"asked,omitempty"`
	// ReadOnly is what the user has chosen; nil: they were not asked.
	ReadOnly *bool     `json:"read_only,omitempty"`
	Started  time.Time `json:"started"`
	Spent    bool      `json:"spent,omitempty"`

	version uint64
}

const (
	flowLife   = 10 * time.Minute
	stateBytes = 24
)

// maxFlows is how many flows of a part of a link are kept, the latest: one for each tab that
// somebody may have open. Whoever presses the button again and again makes no more records.
const maxFlows = 5

// begin stores a new flow. It gives the address to send the browser to, and what the flow
// is called.
func (s *Service) begin(ctx context.Context, l *part, said map[string]string, browser string) (address, ref string, err error) {
	tk, err := s.cfg.Toolkits[l.Toolkit].Toolkit.At(said)
	if err != nil {
		return "", "", err
	}
	state := random(stateBytes)
	f := &flow{
		LinkID: l.ID, Toolkit: tk.ID, Verifier: oauth.NewVerifier(), RedirectURI: RedirectURI(s.cfg.PublicURL, tk.ID),
		ClientID: tk.OAuth.ClientID, Issuer: tk.OAuth.Grantor(), Browser: hash(browser), Asked: said, ReadOnly: l.Reading, Started: s.cfg.Now(),
	}
	address, err = oauth.AuthorizeURL(tk.OAuth.Asking(l.Scopes), f.RedirectURI, state, f.Verifier)
	if err != nil {
		return "", "", fmt.Errorf("making the authorize URL: %w", err)
	}
	return address, hash(state), s.saveFlow(ctx, state, f)
}

// began notes a flow, and gives those that are too many with it.
func (p *part) began(ref string) (old []string) {
	p.Flows = append(p.Flows, ref)
	over := max(len(p.Flows)-maxFlows, 0)
	old, p.Flows = p.Flows[:over:over], p.Flows[over:]
	return old
}

// dropFlows removes flows that nobody comes back from any more. What stays where that
// fails ends within minutes. Whoever closes the browser at the right moment does not make
// it fail.
func (s *Service) dropFlows(ctx context.Context, refs ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishLimit)
	defer cancel()
	for _, ref := range refs {
		name := vault.Name("flow", ref)
		if err := s.cfg.Vault.Delete(ctx, name, 1); errors.Is(err, store.ErrConflict) {
			_ = s.cfg.Vault.Delete(ctx, name, 2) // a callback has spent it
		}
	}
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

func (s *Service) saveFlow(ctx context.Context, state string, f *flow) error {
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("writing a flow: %w", err)
	}
	err = s.cfg.Vault.Put(ctx, vault.Document{Name: flowName(state), Plain: text, Version: f.version + 1, Expires: f.Started.Add(flowLife)})
	if err != nil {
		return fmt.Errorf("writing a flow: %w", err)
	}
	return nil
}

// spend makes the caller the only one to go on with a flow: of two callbacks with
// one state, from a double click or a thief, one gets past here, and the other gets
// errTaken. The record stays for the rest of its life, so that a browser that comes
// back to its callback is shown how that went.
func (s *Service) spend(ctx context.Context, state string, f flow) error {
	f.Spent, f.Verifier = true, ""
	err := s.saveFlow(ctx, state, &f)
	if errors.Is(err, store.ErrConflict) {
		return errTaken
	}
	return err
}

func flowName(state string) string { return vault.Name("flow", hash(state)) }
