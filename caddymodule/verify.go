// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/toolgate/toolgate/connect"
	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/signin"
)

// VerifyUser says how the person who opens a link is known to be the user whom the link
// is for. It is asked when the page is opened, when the button is pressed, and when the
// provider sends the browser back, before anything is exchanged.
type VerifyUser struct {
	// In which way:
	//
	//   - `none`: nobody asks. Whoever opens a link first connects an account of
	//     theirs, and the agent uses it for the user; fit for a single person or
	//     for trying things out.
	//   - `caddy_auth`: a handler in front says it, in a placeholder.
	//   - `jwt`: a token of a site where people are signed in already.
	//   - `oidc`: people sign in with an OpenID provider.
	//   - `callback`: your application says it, from server to server.
	By string `json:"by"`

	// caddy_auth: the placeholder, such as `{http.auth.user.id}`. One that a client
	// could fill in, such as a request header, is refused.
	Placeholder string `json:"placeholder,omitempty"`

	// oidc: `google`, `microsoft`, `slack`, or the address of the issuer.
	// jwt: the token's issuer.
	Issuer string `json:"issuer,omitempty"`

	// oidc microsoft: the directory (tenant) that people have to belong to.
	Tenant string `json:"tenant,omitempty"`

	// oidc: the client that is registered with the provider, with the redirect URI
	// `<public_url>/signin`.
	ClientID string `json:"client_id,omitempty"`

	// oidc: its secret. Default: a public client.
	ClientSecret string `json:"client_secret,omitempty"`

	// oidc: what is asked for besides `openid`. Default: `email` where that is the
	// claim, else nothing.
	Scopes []string `json:"scopes,omitempty"`

	// jwt: the address of the site's public keys (JSON Web Key Set).
	Keys string `json:"keys,omitempty"`

	// jwt: the audiences, one of which a token has to name.
	Audience []string `json:"audience,omitempty"`

	// jwt: the cookie that holds the token. Default: `Authorization: Bearer`.
	Cookie string `json:"cookie,omitempty"`

	// jwt: the algorithms that tokens may be signed with. Default: RS, PS and ES with
	// 256, 384 and 512, and EdDSA.
	Algorithms []string `json:"algorithms,omitempty"`

	// oidc, jwt: the claim that holds the id that agents know the user by. An `email`
	// counts only where the provider says that it has verified it. Default: `sub`;
	// for Microsoft `oid`, for Slack `https://slack.com/user_id`.
	Claim string `json:"claim,omitempty"`

	// oidc, jwt: what stands before the claim in that id, such as `slack:`.
	Prefix string `json:"prefix,omitempty"`

	// oidc, jwt: claims that have to be there with one of the values, such as `hd`
	// with your Google domain.
	Require map[string][]string `json:"require,omitempty"`

	// callback: the page of your application that browsers are sent to, with flow_id.
	URL string `json:"url,omitempty"`

	// callback: the key with which its server confirms the user.
	Key string `json:"key,omitempty"`

	verifier connect.Verifier
	signIn   connect.SignIn
}

// parse reads the option:
//
//	verify_user none
//	verify_user caddy_auth <placeholder>
//	verify_user oidc google | microsoft | slack | <issuer> {
//		client_id     <text>
//		client_secret <placeholder>
//		tenant        <id>               # microsoft
//		scopes        <scope>...
//		claim         <name>
//		prefix        <text>
//		require       <claim> <value>...
//	}
//	verify_user jwt {
//		keys       <url>
//		issuer     <text>
//		audience   <text>...
//		cookie     <name>
//		algorithms <name>...
//		claim      <name>
//		prefix     <text>
//		require    <claim> <value>...
//	}
//	verify_user callback <url> {
//		key <placeholder>
//	}
func (u *VerifyUser) parse(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return errUsage
	}
	u.By = args[0]
	target := map[string]*string{"caddy_auth": &u.Placeholder, "oidc": &u.Issuer, "callback": &u.URL}[u.By]
	if (target != nil) != (len(args) == 2) || !slices.Contains(waysToVerify, u.By) {
		return errUsage
	}
	if target != nil {
		*target = args[1]
	}
	if err := parseBlock(d, "verify_user "+u.By, u.options()); err != nil {
		return err
	}
	if err := u.check(); err != nil {
		return mistake{err}
	}
	return nil
}

var waysToVerify = []string{"none", "caddy_auth", "oidc", "jwt", "callback"}

const verifyUsage = "verify_user none, verify_user caddy_auth {http.auth.user.id}, verify_user oidc <issuer> { … }, verify_user jwt { … } or verify_user callback <url> { … }"

func (u *VerifyUser) options() options {
	claims := options{
		"claim":    {"claim <name>, such as claim email", text(&u.Claim)},
		"prefix":   {"prefix <text>, such as prefix slack:", text(&u.Prefix)},
		"require*": {"require <claim> <value>..., such as require hd example.com", u.parseRequire},
	}
	var own options
	switch u.By {
	case "oidc":
		own = options{
			"client_id":     {"client_id {env.NAME}", text(&u.ClientID)},
			"client_secret": {"client_secret {env.NAME}", placeholder(&u.ClientSecret)},
			"tenant":        {"tenant <id>", text(&u.Tenant)},
			"scopes":        {"scopes <scope>...", texts(&u.Scopes)},
		}
	case "jwt":
		own = options{
			"keys":       {"keys <url>, such as keys https://app.example.com/.well-known/jwks.json", text(&u.Keys)},
			"issuer":     {"issuer <text>, as the claim iss has it", text(&u.Issuer)},
			"audience":   {"audience <text>...", texts(&u.Audience)},
			"cookie":     {"cookie <name>", text(&u.Cookie)},
			"algorithms": {"algorithms <name>..., such as algorithms RS256", texts(&u.Algorithms)},
		}
	case "callback":
		return options{"key": {"key {env.NAME}", placeholder(&u.Key)}}
	default:
		return options{}
	}
	maps.Copy(own, claims)
	return own
}

func (u *VerifyUser) parseRequire(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return errUsage
	}
	if u.Require == nil {
		u.Require = map[string][]string{}
	}
	u.Require[args[0]] = append(u.Require[args[0]], args[1:]...)
	return nil
}

// identities are placeholders that only a handler of the operator's can have filled in.
var identities = regexp.MustCompile(`^\{http\.(auth|vars|request\.tls\.client|reverse_proxy\.header)\.[^{}]+\}$`)

// check looks at what needs neither environment nor network.
func (u *VerifyUser) check() error {
	switch u.By {
	case "none":
		return nil
	case "caddy_auth":
		if !identities.MatchString(u.Placeholder) {
			return fmt.Errorf("verify_user caddy_auth %s: a placeholder that a handler in front has set, please, such as {http.auth.user.id}; a header, a cookie or a query parameter of the request is whatever the client writes there", u.Placeholder)
		}
		return nil
	case "oidc":
		return u.checkOIDC()
	case "jwt":
		return u.checkJWT()
	case "callback":
		if u.Key == "" {
			return errors.New("verify_user callback needs a key, with which your server says who the user is")
		}
		return checkAddress("verify_user callback", u.URL)
	}
	return fmt.Errorf("verify_user %q is not known; known: %s", u.By, strings.Join(waysToVerify, ", "))
}

func (u *VerifyUser) checkOIDC() error {
	switch {
	case u.ClientID == "":
		return errors.New("verify_user oidc needs the client_id that is registered with the provider")
	case u.Issuer == "microsoft" && (u.Tenant == "" || strings.ContainsAny(u.Tenant, "/?#")):
		return errors.New("verify_user oidc microsoft needs tenant, the id of your directory: every other one vouches for its own people")
	case u.Issuer != "microsoft" && u.Tenant != "":
		return errors.New("verify_user oidc: tenant is for microsoft")
	case u.Issuer == "slack" && len(u.Require["https://slack.com/team_id"]) == 0:
		return errors.New("verify_user oidc slack needs `require https://slack.com/team_id <id>`: without it the people of every workspace can sign in")
	}
	return checkAddress("verify_user oidc", u.issuer())
}

func (u *VerifyUser) checkJWT() error {
	switch {
	case u.Issuer == "" || len(u.Audience) == 0:
		return errors.New("verify_user jwt needs issuer and audience: a token that was made for another service must not do here")
	case u.Keys == "":
		return errors.New("verify_user jwt needs keys, the address of the site's public keys")
	}
	return checkAddress("verify_user jwt: keys", u.Keys)
}

// checkAddress wants https, but on this machine.
func checkAddress(what, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !gateway.LoopbackHost(u.Host)) {
		return fmt.Errorf("%s %q: an address with https:// and a host, please", what, text)
	}
	return nil
}

// openIDPresets are what operators of well-known providers need not look up. Sources:
// the providers' /.well-known/openid-configuration and their pages on sign-in.
var openIDPresets = map[string]struct{ issuer, claim string }{
	"google":    {"https://accounts.google.com", "sub"},
	"microsoft": {"https://login.microsoftonline.com/{tenant}/v2.0", "oid"},
	"slack":     {"https://slack.com", "https://slack.com/user_id"},
}

func (u *VerifyUser) issuer() string {
	if preset, ok := openIDPresets[u.Issuer]; ok {
		return strings.ReplaceAll(preset.issuer, "{tenant}", u.Tenant)
	}
	return u.Issuer
}

func (u *VerifyUser) claims() signin.Claims {
	return signin.Claims{User: cmp.Or(u.Claim, openIDPresets[u.Issuer].claim, "sub"), Prefix: u.Prefix, Require: u.Require}
}

// provision makes the way to verify. Where a secret is not set yet nobody is let in.
func (u *VerifyUser) provision(log *zap.Logger, redirectURI string) error {
	if err := u.check(); err != nil {
		return err
	}
	for _, text := range []string{u.ClientSecret, u.Key} {
		if text != "" && placeholderOnly(text) != nil {
			return fmt.Errorf("verify_user: %w", errLiteral)
		}
	}
	clientID, err := resolved(u.ClientID)
	clientSecret, err2 := resolved(u.ClientSecret)
	key, err3 := resolved(u.Key)
	if err := errors.Join(err, err2, err3); err != nil {
		return fmt.Errorf("verify_user: %w", err)
	}
	switch u.By {
	case "caddy_auth":
		u.verifier = handlerInFront(strings.Trim(u.Placeholder, "{}"))
	case "jwt":
		u.verifier = signin.NewJWT(signin.JWTConfig{Keys: u.Keys, Issuer: u.Issuer, Audience: u.Audience, Cookie: u.Cookie, Claims: u.claims(), Algorithms: u.Algorithms})
	case "callback":
		page, _ := url.Parse(u.URL) // checked
		u.signIn = &connect.Confirming{Page: page, Key: secret.New(key)}
		if key == "" {
			log.Warn("nobody can connect: the key of verify_user callback is empty", zap.String("key", u.Key))
		}
	case "oidc":
		issuer, _ := url.Parse(u.issuer())
		u.signIn = &signin.OIDC{Issuer: issuer, ClientID: clientID, ClientSecret: secret.New(clientSecret), Scopes: u.scopes(), Claims: u.claims()}
		if clientID == "" || clientSecret == "" && u.ClientSecret != "" {
			log.Warn("nobody can connect: client_id or client_secret of verify_user oidc is empty", zap.String("redirect_uri_to_register", redirectURI))
		}
	}
	return nil
}

func (u *VerifyUser) scopes() []string {
	if u.Scopes == nil && u.Claim == "email" {
		return []string{"email"}
	}
	return u.Scopes
}

// handlerInFront reads what a handler in front has set, by the placeholder's name.
type handlerInFront string

// User implements connect.Verifier.
func (name handlerInFront) User(r *http.Request) (string, error) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return "", nil
	}
	value, _ := repl.GetString(string(name))
	return value, nil
}
