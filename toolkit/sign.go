// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
	"fmt"
	"slices"
)

// Sign is an answer that means what 401 means: its status, and a field of its JSON body
// that has one of the values. Slack answers 200 with {"ok":false,"error":"token_expired"}.
type Sign struct {
	Status int      `json:"status"`
	Field  string   `json:"field"` // dots go deeper
	Values []string `json:"values"`
}

func (s *Sign) check() error {
	if s == nil {
		return nil
	}
	return s.checkAs("refused")
}

func (s *Sign) checkAs(name string) error {
	switch {
	case s.Status < 200 || s.Status > 599 || s.Status == 401:
		return fmt.Errorf("%s: a status from 200 to 599 other than 401, please", name)
	case s.Field == "" || len(s.Values) == 0 || slices.Contains(s.Values, ""):
		return fmt.Errorf("%s: the field of the answer and the values that it has then, please", name)
	}
	return nil
}

// ScopeSign is an answer that asks for scopes in another way than RFC 6750 §3.1 has it.
// Slack answers 200 with {"ok":false,"error":"missing_scope","needed":"chat:write",
// "provided":"channels:read,users:read"}.
type ScopeSign struct {
	Sign
	// Needed is the field that names the scopes, as a list or as one text with commas or
	// spaces between them. Provided, if there is one, names those that were granted.
	Needed   string `json:"needed"`
	Provided string `json:"provided,omitempty"`
}

func (s *ScopeSign) check() error {
	switch {
	case s == nil:
		return nil
	case s.Needed == "":
		return errors.New("scope_missing: the field of the answer that names the scopes, please")
	}
	return s.checkAs("scope_missing")
}
