// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/toolgate/toolgate/gateway"
)

// parseApp reads the global option:
//
//	toolgate {
//		public_url           <url>
//		agents_url           <url>
//		verify_user          none | caddy_auth <placeholder> | oidc <issuer> { … } | jwt { … } | callback <url> { … }
//		project_link         <agent> [<toolkits>...]
//		store                file [<path>] | redis { … } | memory
//		encryption_key       <placeholder>
//		audit                <file> | stderr | discard
//		link_life            <duration>
//		language             en | de
//		branding { … }
//		auth_required_status <code>
//		agent <name> {
//			key      <placeholder>...
//			tenant   <name>
//			toolkits <name>...
//			acts_for any | <user>...
//			callback_urls <url>...
//			rights   call connect mint
//		}
//		toolkit <name> {
//			name         <text>
//			base_url     <url>
//			host         <alias> <url>
//			variable     <name> { … }
//			header       <name> <value>
//			redirect_hosts <pattern>...
//			client_id      <text>              # these six, or all of oauth2
//			client_secret  <placeholder>
//			scopes         <scope>...
//			auto_refresh   on | off
//			refresh_buffer <duration>
//			refresh_unused <duration>
//			token_lifetime <duration>
//			oauth2 { … }
//			api_key [<placeholder> | per_user] [{ … }]
//			basic <user> <placeholder> | per_user [{ … }]
//			no_auth
//			probe        <path>
//			identity     <path> <field>
//			expect_account <account>...
//			timeout      <duration>
//			max_replay   <size> | off
//			allow_private
//			transport    http { … }
//		}
//	}
//
// A second block adds to the first.
func parseApp(d *caddyfile.Dispenser, earlier any) (any, error) {
	app := new(App)
	if before, ok := earlier.(httpcaddyfile.App); ok {
		if err := caddy.StrictUnmarshalJSON(before.Value, app); err != nil {
			return nil, err
		}
	}
	d.Next() // the option's name
	if d.NextArg() {
		return nil, d.Err("the global option toolgate takes a block and nothing else")
	}
	if err := parseBlock(d, "toolgate", app.options()); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "toolgate", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) options() options {
	return options{
		"public_url":           {"public_url <url>, such as public_url https://connect.example.com", checked(text(&a.PublicURL), &a.PublicURL, func() error { _, err := a.checkPublicURL(); return err })},
		"agents_url":           {"agents_url <url>, such as agents_url https://tools.example.com", checked(text(&a.AgentsURL), &a.AgentsURL, func() error { _, err := a.checkAgentsURL(); return err })},
		"verify_user":          {verifyUsage, into(&a.VerifyUser, func(u *VerifyUser) parser { return u.parse })},
		"project_link":         {projectUsage, into(&a.ProjectLink, func(p *ProjectLink) parser { return p.parse })},
		"store":                {"store file [<path>], store redis { … } or store memory", a.parseStore},
		"encryption_key":       {"encryption_key {file./path} or encryption_key {env.NAME}", placeholder(&a.EncryptionKey)},
		"audit":                {"audit <file>, audit stderr or audit discard", text(&a.Audit)},
		"link_life":            {"link_life <duration>, such as link_life 15m", duration(&a.LinkLife)},
		"branding":             {"branding { … }", into(&a.Branding, func(b *Branding) parser { return b.parse })},
		"language":             {"language en or language de", checked(text(&a.Language), &a.Language, a.checkLanguage)},
		"auth_required_status": {"auth_required_status <code>, 400 to 499", status(&a.AuthRequiredStatus)},
		"agent*":               {"agent <name> { … }", a.parseAgent},
		"toolkit*":             {"toolkit <name> { … }", a.parseToolkit},
	}
}

func (a *App) parseAgent(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return errUsage
	}
	name := d.Val()
	if a.Agents[name] != nil {
		return d.Errf("the agent %s is there already", name)
	}
	if d.NextArg() {
		return errUsage
	}
	agent := new(Agent)
	if a.Agents == nil {
		a.Agents = map[string]*Agent{}
	}
	a.Agents[name] = agent
	err := parseBlock(d, "agent "+name, options{
		"key*":          {"key {env.NAME}", placeholders(&agent.Keys)},
		"tenant":        {"tenant <name>", text(&agent.Tenant)},
		"toolkits":      {"toolkits <name>...", texts(&agent.Toolkits)},
		"callback_urls": {"callback_urls <url>..., such as callback_urls https://app.example.com/connected", texts(&agent.CallbackURLs)},
		"rights":        {"rights <right>..., of call, connect and mint", texts(&agent.Rights)},
		"acts_for":      {"acts_for any, or acts_for <user>...", agent.parseActsFor},
	})
	if err != nil {
		return err
	}
	if err := agent.check(name); err != nil {
		return mistake{err}
	}
	return nil
}

func (g *Agent) parseActsFor(d *caddyfile.Dispenser) error {
	users := d.RemainingArgs()
	switch {
	case len(users) == 0:
		return errUsage
	case len(users) == 1 && users[0] == "any":
		g.ActsForAny = true
	default:
		g.ActsFor = users
	}
	return nil
}

func (a *App) parseToolkit(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return errUsage
	}
	name := d.Val()
	if a.Toolkits[name] != nil {
		return d.Errf("the toolkit %s is there already", name)
	}
	if d.NextArg() {
		return errUsage
	}
	t := new(Toolkit)
	if a.Toolkits == nil {
		a.Toolkits = map[string]*Toolkit{}
	}
	a.Toolkits[name] = t
	if err := parseBlock(d, "toolkit "+name, t.options()); err != nil {
		return err
	}
	if err := t.check(name); err != nil {
		return mistake{fmt.Errorf("toolkit %s: %w", name, err)}
	}
	return nil
}

func (t *Toolkit) options() options {
	return options{
		"name":           {"name <text>", text(&t.Name)},
		"base_url":       {"base_url <url>", text(&t.BaseURL)},
		"host*":          {"host <alias> <url>", pair(&t.Hosts)},
		"variable*":      {"variable <name> { from token_reply <field>, from callback <parameter>, from lookup <url> <field>, or from asked <label>; host <pattern>..., label, or segment <characters> }", t.parseVariable},
		"header*":        {"header <name> <value>", pair(&t.Headers)},
		"reads":          {"reads <method>..., such as reads GET HEAD OPTIONS, or reads off", texts(&t.Reads)},
		"redirect_hosts": {"redirect_hosts <pattern>..., such as redirect_hosts *.downloads.example.com", texts(&t.RedirectHosts)},
		"client_id":      {"client_id {env.NAME}", into(&t.OAuth2, func(o *OAuth2) parser { return text(&o.ClientID) })},
		"client_secret":  {"client_secret {env.NAME}", into(&t.OAuth2, func(o *OAuth2) parser { return placeholder(&o.ClientSecret) })},
		"scopes":         {"scopes <scope>...", into(&t.OAuth2, func(o *OAuth2) parser { return texts(&o.Scopes) })},
		"auto_refresh":   {"auto_refresh on or auto_refresh off", into(&t.OAuth2, func(o *OAuth2) parser { return onOff(&o.AutoRefresh) })},
		"refresh_buffer": {"refresh_buffer <duration>, such as refresh_buffer 5m", into(&t.OAuth2, func(o *OAuth2) parser { return duration(&o.RefreshBuffer) })},
		"refresh_unused": {"refresh_unused <duration>, such as refresh_unused 20d", into(&t.OAuth2, func(o *OAuth2) parser { return duration(&o.RefreshUnused) })},
		"token_lifetime": {"token_lifetime <duration>, such as token_lifetime 12h", into(&t.OAuth2, func(o *OAuth2) parser { return duration(&o.TokenLifetime) })},
		"oauth2":         {"oauth2 { … }", into(&t.OAuth2, func(o *OAuth2) parser { return o.parse })},
		"api_key":        {"api_key {env.NAME} [{ header <name>, query <name>, prefix <text> }], or api_key per_user [{ … }]", into(&t.APIKey, func(k *APIKey) parser { return k.parse })},
		"basic":          {"basic <user> {env.PASSWORD}, or basic per_user [{ … }]", into(&t.Basic, func(b *Basic) parser { return b.parse })},
		"no_auth":        {"no_auth", flag(&t.NoAuth)},
		"probe":          {"probe <path>, such as probe /v1/me", text(&t.Probe)},
		"identity":       {"identity <path> <field>, or identity id_token <claim>", t.parseIdentity},
		"expect_account": {"expect_account <account>..., such as expect_account *@example.com", texts(&t.ExpectAccount)},
		"timeout":        {"timeout <duration>, such as timeout 15s", duration(&t.Timeout)},
		"max_replay":     {"max_replay <size> or max_replay off, such as max_replay 1MiB", size(&t.MaxReplay)},
		"allow_private":  {"allow_private", flag(&t.AllowPrivate)},
		"transport":      {"transport http { … }", t.parseTransport},
	}
}

func (t *Toolkit) parseIdentity(d *caddyfile.Dispenser) error {
	if args := d.RemainingArgs(); len(args) == 2 {
		t.IdentityPath, t.IdentityField = args[0], args[1]
		return nil
	}
	return errUsage
}

func (t *Toolkit) parseTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() || d.Val() != "http" {
		return errUsage
	}
	module, err := caddyfile.UnmarshalModule(d, transportModule)
	if err != nil {
		return err
	}
	t.TransportRaw = caddyconfig.JSONModuleObject(module, "protocol", "http", nil)
	return nil
}

// parseHandler reads the directive:
//
//	toolgate [<matcher>] [<toolkit>] {
//		hosts <pattern>...
//		url   <url>
//	}
func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	warnOpenAdmin(h)
	h.Next() // the directive's name
	handler := new(Handler)
	if h.NextArg() {
		handler.Toolkit = h.Val()
	}
	if h.NextArg() {
		return nil, h.Err("toolgate takes one toolkit, or none where calls name their own")
	}
	err := parseBlock(h.Dispenser, "toolgate", options{
		"hosts": {"hosts <pattern>..., such as hosts *.gw.example.com", texts(&handler.Hosts)},
		"url":   {"url <url>, such as url https://tools.example.com", text(&handler.URL)},
	})
	if err != nil {
		return nil, err
	}
	if err := (gateway.Mount{Hosts: handler.Hosts}).Validate(); err != nil {
		return nil, h.Errf("toolgate: %v", err)
	}
	return handler, nil
}

// parseConnectHandler reads the directive, which takes nothing:
//
//	toolgate_connect [<matcher>]
func parseConnectHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if h.NextArg() || h.NextBlock(0) {
		return nil, h.Err("toolgate_connect takes nothing; its settings are in the global option toolgate")
	}
	return new(ConnectHandler), nil
}

func parseAPIHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if h.NextArg() || h.NextBlock(0) {
		return nil, h.Err("toolgate_api takes nothing; its settings are in the global option toolgate")
	}
	return new(APIHandler), nil
}

// warnOpenAdmin tells operators of Caddy's admin endpoint on TCP: whoever reaches
// it, an agent on the same machine too, can replace the whole configuration.
func warnOpenAdmin(h httpcaddyfile.Helper) {
	admin, _ := h.Option("admin").(*caddy.AdminConfig)
	if admin != nil && (admin.Disabled || strings.HasPrefix(admin.Listen, "unix/")) {
		return
	}
	caddy.Log().Named("toolgate").Warn("Caddy's admin endpoint is on TCP: every program on this machine can replace the configuration. Use `admin off` or `admin unix//path/admin.sock|0600`")
}
