// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// Toolkit is one provider API that agents can reach. For a name that the catalogue
// knows, such as `github`, client id and secret or a key are enough; everything can
// be written differently here.
type Toolkit struct {
	// The toolkit's name for people. Default: the catalogue's, or its own name.
	Name string `json:"name,omitempty"`

	// Where the toolkit's paths begin: `https://api.example.com/v2`. The path of
	// a call is put behind it. Default: the catalogue's.
	BaseURL string `json:"base_url,omitempty"`

	// Further hosts of the toolkit, by a short name: a call to
	// `/{toolkit}/~{name}/…` goes there, with the same credential.
	Hosts map[string]string `json:"hosts,omitempty"`

	// Parts of these addresses that differ from connection to connection, by the name
	// that stands there in braces, such as Salesforce's `https://{instance}`.
	Variables map[string]*Variable `json:"variables,omitempty"`

	// Headers that are sent on each call unless the agent sends its own.
	Headers map[string]string `json:"headers,omitempty"`

	// Each user connects an account by OAuth 2.
	OAuth2 *OAuth2 `json:"oauth2,omitempty"`

	// One key of the operator's for all users, or a key of each user's own.
	APIKey *APIKey `json:"api_key,omitempty"`

	// A user name and a password of the operator's for all users, or each user's own.
	Basic *Basic `json:"basic,omitempty"`

	// The API takes calls without a credential.
	NoAuth bool `json:"no_auth,omitempty"`

	// How long to wait for the header of an answer; its body may take longer.
	// Default: 60 seconds.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many bytes of an upload are kept in memory, so that it can be sent
	// again when the provider refuses the token. -1: none. Default: 1 MiB.
	MaxReplay int64 `json:"max_replay,omitempty"`

	// The call that tells which account was connected: a path below base_url. Or
	// `id_token`, where a claim of the ID token tells it that comes with the first access
	// token; this needs the scope openid. An `email` that the provider does not say to be
	// verified (`email_verified`) counts for nothing.
	IdentityPath string `json:"identity_path,omitempty"`

	// The field of that call's JSON answer that names the account, such as
	// `login` or `user.email`, or the claim.
	IdentityField string `json:"identity_field,omitempty"`

	// The accounts that users may connect, by the name that the identity call gives
	// them: `{user}` is the user's id, and a `*` may stand at the start, such as
	// `*@example.com`. Another account is not kept, and its grant is revoked.
	// Default: any.
	ExpectAccount []string `json:"expect_account,omitempty"`

	// A path below base_url, maybe with a query, that answers a GET with any key that
	// is good. A user's own key is tried there before it is saved. Default: the
	// catalogue's, or `identity_path`; with neither, keys are saved unchecked.
	Probe string `json:"probe,omitempty"`

	// The methods of calls that only read, such as `GET HEAD OPTIONS`, for an API where no
	// such call changes anything. Users may then allow reading only, on the page of a link
	// and on that of what they have connected; other calls over such a connection get 403.
	// `off`: they are not offered that. Default: the catalogue's, or `off`.
	Reads []string `json:"reads,omitempty"`

	// Hosts where the provider keeps its downloads: `downloads.example.com`, or
	// `*.example.com` for every host below. A redirect of a GET or HEAD to one is
	// followed here, without the credential, and the agent gets the download. `off`
	// alone: the agent follows them all. Default: the catalogue's.
	RedirectHosts []string `json:"redirect_hosts,omitempty"`

	// Let the catalogue's hosts, all of `redirect_hosts`, and those that a variable
	// names, be addresses of a private network, for a provider that is reached inside.
	// Other hosts that are written here may be so anyway.
	AllowPrivate bool `json:"allow_private,omitempty"`

	// The HTTP transport to the provider: TLS, DNS, proxy, keep-alive and
	// protocol versions, as in reverse_proxy's `transport http`.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
}

// endpoint is a toolkit that was provisioned.
type endpoint struct {
	toolkit   *toolkit.Toolkit
	transport *transport
	downloads *transport // nil: the toolkit has no redirect hosts
}

// retire is for when no new request is going to come.
func (e *endpoint) retire() {
	e.transport.retire()
	if e.downloads != nil {
		e.downloads.retire()
	}
}

func (a *App) provisionToolkits(ctx caddy.Context) error {
	a.toolkits = map[string]*endpoint{}
	for _, id := range sortedKeys(a.Toolkits) {
		e, err := a.provisionToolkit(ctx, id, a.Toolkits[id])
		if err != nil {
			return fmt.Errorf("toolkit %s: %w", id, err)
		}
		a.toolkits[id] = e
	}
	return nil
}

func (a *App) provisionToolkit(ctx caddy.Context, id string, options *Toolkit) (*endpoint, error) {
	s := settings{from: map[string]string{}}
	over := options.definition(id, &s)
	if s.err != nil {
		return nil, s.err
	}
	base, _ := toolkit.Builtin(id)
	tk, err := base.Over(over).Toolkit()
	if err != nil {
		return nil, err
	}
	if tk.Auth.PerUser && a.publicURL == nil {
		tk.Missing = append(tk.Missing, "public_url")
	}
	s.explain(tk.Missing)
	if tk.OAuth != nil && a.publicURL != nil {
		tk.RedirectURI = connect.RedirectURI(a.publicURL, tk.ID)
	}
	a.warnOfPlainHTTP(tk)
	a.reportDraft(tk, base.HelpURL)
	a.reportUnchecked(tk)
	e := &endpoint{toolkit: tk}
	guarded := guardedHosts(base, over)
	if options.AllowPrivate {
		guarded = nil
	}
	if e.transport, err = newTransport(ctx, tk, options.TransportRaw, guarded); err != nil {
		return nil, err
	}
	e.downloads, err = newDownloads(ctx, tk, options.TransportRaw, options.AllowPrivate)
	return e, err
}

// check looks at what needs nothing but the toolkit itself. Addresses with placeholders
// can be judged only where the configuration is loaded.
func (t *Toolkit) check(id string) error {
	addresses := []string{t.BaseURL}
	for _, address := range t.Hosts {
		addresses = append(addresses, address)
	}
	if o := t.OAuth2; o != nil {
		addresses = append(addresses, o.Issuer, o.AuthorizeURL, o.TokenURL, o.RefreshURL, o.LongLivedURL, o.RevokeURL)
	}
	for _, v := range t.Variables {
		if v != nil {
			addresses = append(addresses, v.Lookup)
		}
	}
	if slices.ContainsFunc(addresses, caddyPlaceholder.MatchString) {
		return nil
	}
	base, _ := toolkit.Builtin(id)
	tk, err := base.Over(t.definition(id, &settings{from: map[string]string{}, dry: true})).Toolkit()
	if err != nil {
		return err
	}
	_, err = transportOptions(tk, t.TransportRaw)
	return err
}

// warnOfPlainHTTP tells of credentials that would leave this machine in the clear.
func (a *App) warnOfPlainHTTP(tk *toolkit.Toolkit) {
	addresses := []string{tk.BaseURL.String()}
	for _, u := range tk.Aliases {
		addresses = append(addresses, u.String())
	}
	if tk.OAuth != nil {
		addresses = append(addresses, tk.OAuth.TokenEndpoints()...)
	}
	for _, v := range tk.LookedUp() {
		addresses = append(addresses, v.Lookup.String())
	}
	for _, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Scheme == "http" && !gateway.LoopbackHost(u.Host) {
			a.log.Warn("credentials are sent in the clear: the address is http", zap.String("toolkit", tk.ID), zap.String("host", u.Host))
		}
	}
}

// reportDraft tells the operator what is left to do, with the exact address to
// register: providers compare it letter by letter.
func (a *App) reportDraft(tk *toolkit.Toolkit, help string) {
	if !tk.Draft() {
		return
	}
	fields := []zap.Field{zap.String("toolkit", tk.ID), zap.Strings("missing", tk.Missing)}
	if tk.RedirectURI != "" {
		fields = append(fields, zap.String("redirect_uri_to_register", tk.RedirectURI))
	}
	if help != "" {
		fields = append(fields, zap.String("register_at", help))
	}
	a.log.Warn("toolkit is a draft: its calls are answered with 503 until this is configured", fields...)
}

// reportUnchecked tells of keys that nobody tries before they are used.
func (a *App) reportUnchecked(tk *toolkit.Toolkit) {
	if check, _ := tk.Check(); check == "" && len(tk.Auth.Fields) > 0 {
		a.log.Warn("users' own keys are saved without being checked; say with probe where any good key is accepted", zap.String("toolkit", tk.ID))
	}
}

// settings resolves the placeholders of a toolkit's options and remembers where
// each came from, so that what is missing can be named as it was written.
type settings struct {
	from map[string]string
	dry  bool // leave placeholders as they are
	err  error
}

func (s *settings) plain(name, text string) string {
	if s.dry {
		return text
	}
	return s.with(caddy.NewReplacer(), name, text)
}

func (s *settings) with(r *caddy.Replacer, name, text string) string {
	value, err := resolvedBy(r, text)
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("%s: %w", name, err)
	}
	s.from[name] = text
	return value
}

func (s *settings) plainEach(name string, texts map[string]string) map[string]string {
	values := make(map[string]string, len(texts))
	for key, text := range texts {
		values[key] = s.plain(name+" "+key, text)
	}
	return values
}

func (s *settings) secret(name, text string) secret.String {
	if text == "" {
		return secret.String{}
	}
	if err := placeholderOnly(text); err != nil && s.err == nil {
		s.err = fmt.Errorf("%s: %w", name, err)
	}
	return secret.New(s.plain(name, text))
}

// explain turns "client_id" into "client_id ({env.GITHUB_CLIENT_ID} is empty)".
func (s *settings) explain(missing []string) {
	for i, name := range missing {
		if text := s.from[name]; text != "" {
			missing[i] = name + " (" + text + " is empty)"
		}
	}
	slices.Sort(missing)
}

func (t *Toolkit) definition(id string, s *settings) toolkit.Definition {
	d := toolkit.Definition{
		ID: id, Name: t.Name, BaseURL: s.address("base_url", t.BaseURL), Hosts: s.addressEach("host", t.Hosts), Variables: t.variables(s), Headers: s.plainEach("header", t.Headers),
		RedirectHosts: t.RedirectHosts, Probe: t.Probe, Timeout: time.Duration(t.Timeout), MaxReplay: t.MaxReplay,
		ExpectAccount: t.ExpectAccount, Reads: t.Reads,
	}
	if t.IdentityPath != "" || t.IdentityField != "" {
		d.Identity = &toolkit.Identity{Path: t.IdentityPath, Field: t.IdentityField}
		if t.IdentityPath == "id_token" {
			d.Identity = &toolkit.Identity{IDToken: true, Field: t.IdentityField}
		}
	}
	switch {
	case t.OAuth2 != nil:
		t.OAuth2.define(&d, s)
	case t.APIKey != nil:
		t.APIKey.define(&d, s)
	case t.Basic != nil:
		t.Basic.define(&d, s)
	case t.NoAuth:
		d.Auth.Kind = toolkit.NoAuth
	}
	return d
}

// gatewayEndpoints are the toolkits as the gateway wants them.
func (a *App) gatewayEndpoints() map[string]gateway.Endpoint {
	all := make(map[string]gateway.Endpoint, len(a.toolkits))
	for id, e := range a.toolkits {
		to := gateway.Endpoint{Toolkit: e.toolkit, Upstream: e.transport}
		if e.downloads != nil { // a nil *transport would not be nil in there
			to.Redirects = e.downloads
		}
		all[id] = to
	}
	return all
}

// connectEndpoints are those that users can connect to.
func (a *App) connectEndpoints() map[string]connect.Endpoint {
	all := make(map[string]connect.Endpoint, len(a.toolkits))
	for id, e := range a.toolkits {
		all[id] = connect.Endpoint{Toolkit: e.toolkit, Upstream: e.transport}
	}
	return all
}
