// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// endlessTypes are of answers that go on for as long as both sides like. The permission
// that a call had when it was made would last as long.
var endlessTypes = []string{
	"text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
	"application/json-seq", "application/stream+json", "application/vnd.amazon.eventstream", "multipart/x-mixed-replace",
}

// endless goes by the name alone. What agents take for a stream, whatever is behind it,
// such as a parameter that comes twice, is one.
func endless(answer *http.Response) bool {
	kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	return slices.Contains(endlessTypes, strings.ToLower(strings.TrimSpace(kind)))
}

// watched has such an answer end when the grant is taken back, or this agent may not use
// it any more. The error says that this was so in this very moment.
func (g *Gateway) watched(x *exchange) (forget func(), err error) {
	if !x.toolkit.Auth.PerUser && x.caller.Session == nil || !endless(x.answer) {
		return func() {}, nil
	}
	body := x.answer.Body
	forget, err = g.keep(x, openTunnel{end: func() { body.Close() }, drains: true})
	if err != nil {
		return func() {}, err
	}
	return forget, nil
}
