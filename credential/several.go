// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Several is more than one secret on one request, such as an API key and an
// application key.
type Several []Credential

// Apply puts all of them on.
func (all Several) Apply(out *http.Request) {
	for _, c := range all {
		c.Apply(out)
	}
}

// Secrets are those of all.
func (all Several) Secrets() (secrets []string) {
	for _, c := range all {
		secrets = append(secrets, c.Secrets()...)
	}
	return secrets
}

// Pack makes one secret of what a user entered, by the names of the toolkit's fields.
// It is what [For] takes and what a connection keeps in place of an access token:
//
//	one API key         the key
//	Basic               name:password (RFC 7617)
//	several fields      {"api_key":"…","application_key":"…"}
//
// Which one it is, the connection notes beside it (see [toolkit.Toolkit.Grantee]).
func Pack(auth toolkit.Auth, entered map[string]string) secret.String {
	switch {
	case auth.Kind == toolkit.Basic:
		return secret.New(entered[toolkit.Username] + ":" + entered[toolkit.Password])
	case len(auth.Fields) == 1:
		return secret.New(entered[auth.Fields[0].Name])
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // it is in no page, and would take six times the room
	_ = e.Encode(entered)  // texts only: cannot fail
	return secret.New(strings.TrimSuffix(text.String(), "\n"))
}

// several is the reverse of Pack for a key of several fields. One that is not there is
// sent empty, so that nothing of the agent's takes its place.
func several(fields []toolkit.Field, packed secret.String) Several {
	var entered map[string]string
	_ = json.Unmarshal([]byte(packed.Reveal()), &entered) // the error would quote the secret
	all := make(Several, 0, len(fields))
	for _, f := range fields {
		all = append(all, placed(f.Header, f.Query, f.Prefix, secret.New(entered[f.Name])))
	}
	return all
}
