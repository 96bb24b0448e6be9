// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	accountLimit = 5 * time.Second
	maxLabel     = 120 // characters
)

// account asks the provider which account was connected, for people to see. It is
// worth no failure: without an answer the connection has no label.
func (s *Service) account(ctx context.Context, tk *toolkit.Toolkit, token secret.String) string {
	upstream := s.cfg.Toolkits[tk.ID].Upstream
	if tk.Identity == nil || upstream == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, accountLimit)
	defer cancel()
	target, err := tk.Target(tk.Identity.Path, "")
	if err != nil {
		return ""
	}
	req := (&http.Request{
		Method: http.MethodGet, URL: target, Host: target.Host,
		Header: http.Header{"Accept": {"application/json"}, "User-Agent": {"toolgate"}},
	}).WithContext(ctx)
	for name, value := range tk.Headers {
		req.Header.Set(name, value)
	}
	credential.For(tk.Auth, token).Apply(req)
	res, err := upstream.RoundTrip(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode != http.StatusOK {
		return ""
	}
	return label(text, tk.Identity.Field)
}

// label picks a field of a JSON object, as one short line.
func label(text []byte, field string) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return ""
	}
	for name := range strings.SplitSeq(field, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = object[name]
	}
	s, _ := value.(string)
	clean := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)))
	return string(clean[:min(len(clean), maxLabel)])
}
