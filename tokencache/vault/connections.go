// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/tokencache/store"
)

// Load reads a connection. Only a record that is truly absent gives
// connection.ErrNotConnected, and none of a store that has lost them all: see ErrLost.
// With ErrMalformed come the connection's key and version: nothing can be read there,
// so whoever has a new grant may Save it in its place.
func (v *Vault) Load(ctx context.Context, key connection.Key) (connection.Connection, error) {
	d, err := v.Get(ctx, connectionName(key))
	if errors.Is(err, store.ErrNotFound) {
		if err = v.absent(ctx); errors.Is(err, connection.ErrNotConnected) {
			return connection.Connection{}, err
		}
	}
	if err != nil {
		return connection.Connection{}, fmt.Errorf("loading the %s connection: %w", key.Toolkit, err)
	}
	return decode(key, d)
}

// Save writes c if it still stands at c.Version in the store (0: not there), and
// returns it with its new version. Otherwise the error wraps store.ErrConflict.
// Where it wraps ErrUnfit, no store would keep it, now or later.
func (v *Vault) Save(ctx context.Context, c connection.Connection) (connection.Connection, error) {
	c.Version++
	plain, err := encode(c)
	if err == nil {
		err = v.Put(ctx, Document{
			Name: connectionName(c.Key), Plain: plain, Version: c.Version,
			Index: append([]string{Name("user", c.Tenant, c.User), Name("toolkit", c.Toolkit)}, grantTerm(c)...),
		})
	}
	if err != nil {
		return connection.Connection{}, fmt.Errorf("saving the %s connection: %w", c.Toolkit, err)
	}
	return c, nil
}

// grantTerm finds the connections that share one grant at the provider: of one client and
// one account, whichever toolkits and users they are for. Where the account has no name
// nobody can tell.
func grantTerm(c connection.Connection) []string {
	if c.AccountLabel == "" || c.Granted.ClientID == "" {
		return nil
	}
	return []string{Name("grant", c.Granted.Issuer, c.Granted.ClientID, c.AccountLabel)}
}

// Remove deletes c if it still stands at c.Version.
func (v *Vault) Remove(ctx context.Context, c connection.Connection) error {
	return v.Delete(ctx, connectionName(c.Key), c.Version)
}

func connectionName(k connection.Key) string {
	return Name("connection", k.Tenant, k.User, k.Toolkit, k.Account)
}

// connectionKey is the reverse of connectionName.
func connectionKey(name string) (connection.Key, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 5 || parts[0] != "connection" {
		return connection.Key{}, false
	}
	for i := range parts {
		var err error
		if parts[i], err = url.PathUnescape(parts[i]); err != nil {
			return connection.Key{}, false
		}
	}
	return connection.Key{Tenant: parts[1], User: parts[2], Toolkit: parts[3], Account: parts[4]}, true
}

// sealed is a connection's form in the store.
//
// Gateways of one version and of the one before work side by side on one store. So
// a field may be added at any time, as long as who does not know it does no harm by
// leaving it as it is: an older gateway keeps it (see [connection.Connection.Beyond])
// for as long as the grant lives. A change of meaning takes a new number in v, which
// older gateways refuse with 503; a release has to read it before another one
// writes it.
type sealed struct {
	Format       int       `json:"v"`
	ID           string    `json:"id"`
	Status       string    `json:"status"`
	Reason       string    `json:"reason,omitempty"`
	AccessToken  string    `json:"access_token,omitempty"`
	RefreshToken string    `json:"refresh_token,omitempty"`
	IssuedAt     time.Time `json:"issued_at,omitzero"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	Scopes       []string  `json:"scopes,omitempty"`
	Issuer       string    `json:"issuer,omitempty"`
	ClientID     string    `json:"client_id,omitempty"`
	Hosts        []string  `json:"hosts,omitempty"`
	// Who does not know them has no toolkit whose hosts these are, and sends nothing.
	Variables   map[string]string `json:"variables,omitempty"`
	Intent      string            `json:"intent,omitempty"`
	IntentSince time.Time         `json:"intent_since,omitzero"`
	Account     string            `json:"account_label,omitempty"`
	Label       string            `json:"label,omitempty"`
	// Who does not know them lets all agents use it, as it lets them use every other. That
	// an empty list is written, and none is not, is what tells nobody from everybody.
	Agents []string `json:"agents,omitzero"`
	Barred []string `json:"agents_barred,omitempty"`
	// Who does not know it lets calls through that are not reads.
	ReadOnly   bool      `json:"read_only,omitempty"`
	NotDefault bool      `json:"not_default,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	LastUsed   time.Time `json:"last_used_at,omitzero"`
}

const format = 1

// FormatError is a record in a form that only a later Toolgate knows.
type FormatError struct {
	Format int
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("the record is of version %d, this Toolgate knows %d: it was written by a later version", e.Format, format)
}

// ErrMalformed is a record that opens, and is no connection.
var ErrMalformed = errors.New("the record opens, and is not what belongs in it")

// Malformed reports whether what a record of that name holds is malformed: it should be
// a connection, and is none.
func Malformed(name string, plain []byte) bool {
	if _, ok := connectionKey(name); !ok {
		return false
	}
	_, err := unmarshal(plain)
	return errors.Is(err, ErrMalformed)
}

// ErrUnfit is a connection that cannot be kept as it is. It wraps store.ErrInvalid.
var ErrUnfit = fmt.Errorf("%w: the connection cannot be kept", store.ErrInvalid)

// MaxToken is how long a token may be: longer ones fit in no header, and two of them with
// everything else have to fit in a record.
const MaxToken = 64 << 10 // bytes

// encode is, with decode, the only place that reveals tokens in order to keep them. It
// gives what decode reads, or ErrUnfit: whatever else it wrote would take the place of
// a token that works.
func encode(c connection.Connection) ([]byte, error) {
	s := sealed{
		Format: format, ID: c.ID, Status: string(c.Status), Reason: string(c.Reason),
		AccessToken: c.AccessToken.Reveal(), RefreshToken: c.RefreshToken.Reveal(),
		IssuedAt: c.IssuedAt.UTC(), ExpiresAt: c.ExpiresAt.UTC(), Scopes: c.Scopes,
		Issuer: c.Granted.Issuer, ClientID: c.Granted.ClientID, Hosts: c.Granted.Hosts, Variables: c.Variables,
		Account: c.AccountLabel, Label: c.Label, Agents: c.Agents, Barred: c.Barred, ReadOnly: c.ReadOnly, NotDefault: c.NotDefault, CreatedAt: c.CreatedAt.UTC(), UpdatedAt: c.UpdatedAt.UTC(), LastUsed: c.LastUsed.UTC(),
	}
	if c.Intent != nil {
		s.Intent, s.IntentSince = c.Intent.ID, c.Intent.Since.UTC()
	}
	if len(s.AccessToken) > MaxToken || len(s.RefreshToken) > MaxToken {
		return nil, fmt.Errorf("%w: a token has more than %d bytes", ErrUnfit, MaxToken)
	}
	text, err := marshal(s)
	if err != nil {
		// Strings always can be written; times only with a year of four digits. JSON's
		// own error is dropped, in case it ever quotes what it was given.
		return nil, fmt.Errorf("%w: one of its times is in no year from 0 to 9999", ErrUnfit)
	}
	if c.Beyond.IsZero() {
		return text, nil
	}
	text[len(text)-1] = ','
	return append(text, c.Beyond.Reveal()[1:]...), nil
}

// marshal leaves <, > and & as they are. Nobody puts a record into a page, and six bytes
// for each would have a token that fits be too large.
func marshal(v any) ([]byte, error) {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	err := to.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// known are the names of sealed's fields.
var known = func() map[string]bool {
	names := map[string]bool{}
	for field := range reflect.TypeFor[sealed]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}()

// beyond gives the fields of a record that are not known here, as a JSON object; ""
// where there are none.
func beyond(plain []byte) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(plain, &fields) != nil {
		return ""
	}
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool { return known[name] })
	if len(fields) == 0 {
		return ""
	}
	text, _ := marshal(fields) // it has just been JSON
	return string(text)
}

// unmarshal looks at the version first: what a later one means by the other fields,
// and of which types they are, is not known here. JSON's own errors are dropped, as
// they would quote the token.
func unmarshal(plain []byte) (s sealed, err error) {
	var head struct {
		Format int `json:"v"`
	}
	switch err := json.Unmarshal(plain, &head); {
	case err != nil || head.Format < format:
		return sealed{}, ErrMalformed
	case head.Format > format:
		return sealed{}, &FormatError{head.Format}
	}
	if json.Unmarshal(plain, &s) != nil {
		return sealed{}, ErrMalformed
	}
	return s, nil
}

func decode(key connection.Key, d Document) (connection.Connection, error) {
	s, err := unmarshal(d.Plain)
	if errors.Is(err, ErrMalformed) {
		return connection.Connection{Key: key, Version: d.Version}, fmt.Errorf("reading the %s connection: %w", key.Toolkit, err)
	}
	if err != nil {
		return connection.Connection{}, fmt.Errorf("reading the %s connection: %w", key.Toolkit, err)
	}
	c := connection.Connection{
		Key: key, ID: s.ID, Version: d.Version, Status: connection.Status(s.Status), Reason: connection.Reason(s.Reason),
		AccessToken: secret.New(s.AccessToken), RefreshToken: secret.New(s.RefreshToken),
		IssuedAt: s.IssuedAt, ExpiresAt: s.ExpiresAt, Scopes: s.Scopes,
		Granted:      connection.Grantee{Issuer: s.Issuer, ClientID: s.ClientID, Hosts: s.Hosts},
		Variables:    s.Variables,
		AccountLabel: s.Account, Label: s.Label, Agents: s.Agents, Barred: s.Barred, ReadOnly: s.ReadOnly, NotDefault: s.NotDefault, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, LastUsed: s.LastUsed,
		Beyond: secret.New(beyond(d.Plain)),
	}
	if s.Intent != "" {
		c.Intent = &connection.Intent{ID: s.Intent, Since: s.IntentSince}
	}
	return c, nil
}
