// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
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
	switch {
	case s == nil:
		return nil
	case s.Status < 200 || s.Status > 599 || s.Status == 401:
		return errors.New("refused: a status from 200 to 599 other than 401, please")
	case s.Field == "" || len(s.Values) == 0 || slices.Contains(s.Values, ""):
		return errors.New("refused: the field of the answer and the values that it has then, please")
	}
	return nil
}
