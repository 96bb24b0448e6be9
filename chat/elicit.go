// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/seal"
)

// A client may offer to have its user open an address (URL mode elicitation). The newest
// revision has that as a result that asks for input: the client shows the address, and sends
// the call again with the user's answer and what we gave it to carry. It is done once per
// call. Who has not declared that it can, gets the link in an ordinary result: few can.

// asksSince is the first revision that has it in this form. Before it, a stateless server
// knows nothing of what a client can.
const asksSince = "2026-07-28"

// stateLife is how long what a client carries is good.
const stateLife = 10 * time.Minute

// question is the name of the one question that a result asks.
const question = "connect"

// carried is what a client carries from a result to its next call. It is sealed for the
// caller, the tool and the arguments.
type carried struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Stood: it was connected, and is to be connected anew, such as for more scopes.
	Stood bool `json:"stood,omitempty"`
}

// comeback is what a call brings with it from an answer that was a question.
type comeback struct {
	asked    bool // the user was asked already, and is not asked again
	accepted bool // and has agreed to open the address; that is not to have connected
	since    time.Time
	stood    bool // see carried
}

// comeBack reads what the call brings with it. The error is the protocol's: no model can
// mend what a client carries.
func (s *Service) comeBack(c *call) (back comeback, err error) {
	defer func() { c.back = back }()
	p := c.ask.Params
	if p.RequestState == "" {
		return comeback{asked: len(p.InputResponses) > 0, since: s.cfg.Now()}, nil
	}
	sealed, err := base64.RawURLEncoding.DecodeString(p.RequestState)
	var state carried
	if err == nil {
		var plain []byte
		if plain, err = s.cfg.Seal.Open(sealed, c.place()); err == nil {
			err = json.Unmarshal(plain, &state)
		}
	}
	if err != nil {
		return comeback{}, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "requestState does not belong to this call: send the same arguments as before, or leave it out"}
	}
	if !s.cfg.Now().Before(state.Until) {
		return comeback{asked: true, since: state.Since}, nil
	}
	answer, ok := p.InputResponses[question].(*mcp.ElicitResult)
	return comeback{asked: true, accepted: ok && answer.Action == "accept", since: state.Since, stood: state.Stood}, nil
}

// elicit gives the result that has the client show the link; nil: it cannot, or has. It is
// for after comeBack.
func (s *Service) elicit(c *call, link Link, lacking []Standing) *mcp.CallToolResult {
	if c.back.asked || !canShow(c.ask) {
		return nil
	}
	now := s.cfg.Now()
	state := carried{Since: now, Until: now.Add(stateLife), Stood: lacking[0].Status == connection.Active}
	if link.ExpiresAt.Before(state.Until) {
		state.Until = link.ExpiresAt
	}
	plain, _ := json.Marshal(state) // times, which always can be
	return &mcp.CallToolResult{
		InputRequests: mcp.InputRequestMap{question: &mcp.ElicitParams{Mode: "url", URL: link.URL, Message: "Connect " + names(lacking) + " to continue."}},
		RequestState:  base64.RawURLEncoding.EncodeToString(s.cfg.Seal.Seal(plain, c.place())),
	}
}

// canShow reports whether the client has said, in this very request, that its user can be
// asked to open an address. `"elicitation": {}` means forms alone.
func canShow(req *mcp.CallToolRequest) bool {
	caps := req.ClientCapabilities()
	return req.ProtocolVersion() >= asksSince && caps != nil && caps.Elicitation != nil && caps.Elicitation.URL != nil
}

// place is what the state of a call is tied to. Sent with another user's call, or with other
// arguments, it does not open.
func (c *call) place() string {
	sum := sha256.Sum256(canonical(c.ask.Params.Arguments))
	return seal.Place("mcp-state", c.who.Tenant, c.who.Agent, c.who.User, c.tool, hex.EncodeToString(sum[:]))
}

// canonical is the same for the same arguments in another order or spacing, as a client may
// write them the second time.
func canonical(arguments json.RawMessage) []byte {
	dec := json.NewDecoder(bytes.NewReader(arguments))
	dec.UseNumber()
	var value any
	if dec.Decode(&value) != nil || value == nil {
		return []byte("{}")
	}
	text, err := json.Marshal(value)
	if err != nil {
		return arguments
	}
	return text
}
