// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/tokencache/vault"
)

// minePath is the page where people see what they have connected, and take it back.
const minePath = "connections"

// row is one connection on that page.
type row struct {
	place connection.Key // without an account

	ID, Toolkit, Label, Account, State string
	Since, Used                        time.Time
	Scopes                             []string
	Said                               []question // which server it is at
	// Several: there are other accounts of the toolkit, and Default is the one that
	// assistants use when they name none.
	Several, Default bool
	// MayRest and Rests: there is a button to switch it off, or on.
	MayRest, Rests bool
	// Users are the agents that may use it, or might; none where there is nothing to say.
	Users []agentRow
	// Added: it is set up, and not connected yet. MayConnect: there is a button for that.
	Added, MayConnect bool
	// Another: a further account can be connected; of several rows of a toolkit, the last
	// one has the button.
	Another bool
	// MayTest and MayRefresh: it can be tried out, or have its token renewed.
	MayTest, MayRefresh bool
	// ReadOnly: it is for reading only. MayLimit: there is a button for that.
	ReadOnly, MayLimit bool
}

// serveMine shows what the person at the browser has connected, for whichever agents.
func (s *Service) serveMine(v visit) {
	user, ok := s.whoIs(v, minePath)
	if !ok {
		return
	}
	conns, err := s.connectionsOf(v, user)
	if err != nil {
		s.trouble(v, nil, "mine", err)
		return
	}
	s.minePage(v, user, conns, mineNotices[undoing(v.r.URL.Query().Get("done"))])
}

// whoIs gives the person, or answers that the browser has to sign in first to see a page.
func (s *Service) whoIs(v visit, page string) (string, bool) {
	p, err := s.personAt(v.r)
	switch {
	case err != nil:
		s.trouble(v, nil, "verify_user", err)
	case !p.asked:
		s.message(v, http.StatusForbidden, nobodyAsks)
	case p.user != "":
		return p.user, true
	case s.cfg.SignIn != nil:
		s.signInPage(v, nil, page, "")
	default:
		s.message(v, http.StatusForbidden, notSignedIn)
	}
	return "", false
}

// connectionsOf reads them, of every tenant that an agent here has.
func (s *Service) connectionsOf(v visit, user string) (all []connection.Connection, err error) {
	for _, tenant := range s.cfg.Tenants {
		conns, err := s.cfg.Vault.OfUser(v.r.Context(), tenant, user)
		if err != nil {
			return nil, err
		}
		all = append(all, conns...)
	}
	return all, nil
}

// serveUndo is a button on that page.
func (s *Service) serveUndo(v visit) {
	if !s.fromOurPage(v) {
		return
	}
	if s.browser(v.r) == "" {
		s.message(v, http.StatusForbidden, formStale)
		return
	}
	if s.cfg.SignIn != nil && v.r.PostFormValue("go") == signInPath && s.formTokenOK(v.r, minePath) {
		s.sendToSignIn(v, "", minePath)
		return
	}
	user, ok := s.whoIs(v, minePath)
	if !ok {
		return
	}
	conns, err := s.connectionsOf(v, user)
	if err != nil {
		s.trouble(v, nil, "mine", err)
		return
	}
	if !s.formTokenOK(v.r, minePath) {
		s.minePage(v, user, conns, pressAgain)
		return
	}
	// It comes from the form, and counts only among this person's own.
	i := slices.Index(handles(conns), v.r.PostFormValue("id"))
	if i < 0 {
		s.backToMine(v, "") // a second click, or another tab: it is gone
		return
	}
	deed := v.r.PostFormValue("do")
	var outcome undoing
	switch deed {
	case doDefault:
		outcome, err = s.makeDefault(v, conns[i])
	case doSwitchOff:
		outcome, err = s.turn(v, conns[i].Key, connection.SwitchOff)
	case doSwitchOn:
		outcome, err = s.turn(v, conns[i].Key, connection.SwitchOn)
	case doNarrow, doWiden:
		outcome, err = s.limit(v, conns[i].Key, deed == doNarrow)
	case doTest:
		outcome = s.tryOut(v, conns[i])
	case doRefresh:
		outcome = s.refreshNow(v, conns[i])
	case doAnother:
		s.startAnother(v, conns[i])
		return
	case doConnect:
		if conns[i].Status != connection.Added || !s.offered(&part{Toolkit: conns[i].Toolkit}) {
			s.backToMine(v, "") // it is connected meanwhile
			return
		}
		s.startStaged(v, conns[i])
		return
	case doRename:
		outcome, err = s.rename(v, conns[i])
	case doAllow, doBar:
		outcome, err = s.letOne(v, conns[i], deed == doAllow)
	case doDisconnect, "": // a page that was opened before there were other buttons
		outcome, err = s.disconnect(v.r.Context(), v.id, "", conns[i].Key)
	default:
		err = connection.ErrNotConnected // nothing of ours
	}
	switch {
	case errors.Is(err, connection.ErrNotConnected):
		s.backToMine(v, "")
	case err != nil:
		s.trouble(v, nil, deed, err)
	default:
		s.cfg.Report(Event{What: string(outcome), Tenant: conns[i].Tenant, User: user, Toolkit: conns[i].Toolkit, RequestID: v.id})
		s.backToMine(v, outcome)
	}
}

// handles are what buttons call a person's connections: by their ids. An id of several is
// none of them. Who asks for an account by an id may get that one (see place.comes), and
// so an agent can have a connection go by the id of another toolkit's. The button of the
// one would switch off or disconnect the other.
func handles(conns []connection.Connection) []string {
	count, all := map[string]int{}, make([]string, len(conns))
	for _, c := range conns {
		count[c.ID]++
	}
	for i, c := range conns {
		if all[i] = c.ID; count[c.ID] > 1 {
			all[i] = vault.Name(c.Tenant, c.Toolkit, c.Key.Account) // no id has a slash
		}
	}
	return all
}

// What the buttons on that page do.
const (
	doDisconnect = "disconnect"
	doDefault    = "default"
	doSwitchOff  = "off"
	doSwitchOn   = "on"
	doConnect    = "connect"
	doNarrow     = "reading"
	doWiden      = "writing"
	doTest       = "test"
	doRefresh    = "refresh"
	doRename     = "rename"
	doAnother    = "another"
	doAllow      = "allow"
	doBar        = "withdraw"
)

// turn puts a connection to rest, or to use again. Its tokens stay where they are.
func (s *Service) turn(v visit, key connection.Key, which connection.Happening) (undoing, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), finishLimit)
	defer cancel()
	event, why, outcome := audit.SwitchedOff, connection.SwitchedOff, rested
	if which == connection.SwitchOn {
		event, why, outcome = audit.SwitchedOn, "", woken
	}
	var conn connection.Connection
	var moot error
	audited := false
	err := persist(ctx, func() (err error) {
		if conn, err = s.cfg.Vault.Load(ctx, key); err != nil {
			return err
		}
		if conn, moot = conn.After(which, why, s.cfg.Now()); moot != nil {
			return nil // a second click, or it has ended meanwhile: the page shows how it stands
		}
		if !audited {
			r := audit.Record{Time: s.cfg.Now(), Event: event, RequestID: v.id, Tenant: key.Tenant, User: key.User, Toolkit: key.Toolkit, Connection: conn.ID}
			if err = s.cfg.Audit.Record(r); err != nil {
				return err
			}
			audited = true
		}
		conn, err = s.cfg.Vault.Save(ctx, conn) // ErrConflict: a refresh came between, and its token is to stay
		return err
	})
	if err != nil {
		return "", fmt.Errorf("switching a connection: %w", err)
	}
	if moot != nil {
		return "", connection.ErrNotConnected
	}
	s.cfg.Connected(conn)
	if which == connection.SwitchOff {
		s.cfg.Stopped(key)
	}
	return outcome, nil
}

// makeDefault has calls that name no account go to a connection.
func (s *Service) makeDefault(v visit, conn connection.Connection) (undoing, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), finishLimit)
	defer cancel()
	r := audit.Record{Time: s.cfg.Now(), Event: audit.DefaultChosen, RequestID: v.id, Tenant: conn.Tenant, User: conn.User, Toolkit: conn.Toolkit, Connection: conn.ID}
	if err := s.cfg.Audit.Record(r); err != nil {
		return "", err
	}
	first, err := s.cfg.Vault.SetDefault(ctx, conn.Key)
	if err != nil {
		return "", err
	}
	if first.Version == 0 {
		first = conn // as good for telling the cache that something has changed
	}
	s.cfg.Connected(first)
	return chosen, nil
}

// PageURL is where people see and change what they have connected, below that public URL.
func PageURL(public *url.URL) string { return public.JoinPath(minePath).String() }

// mineURL is the page with a word about what was just done. The word is one of ours, and
// the page has a sentence for each.
func (s *Service) mineURL(outcome undoing) string { return s.minePageURL(1, outcome) }

func (s *Service) minePage(v visit, user string, conns []connection.Connection, notice string) {
	data := view{Title: s.say(v, "What you have connected"), User: user, Notice: notice, Token: s.formToken(s.greet(v), minePath)}
	defaults, err := s.defaultsOf(v.r.Context(), conns)
	if err != nil {
		s.trouble(v, nil, "mine", err)
		return
	}
	ids := handles(conns)
	for i, c := range conns {
		r := row{place: toolkitOf(c.Key), ID: ids[i], Toolkit: c.Toolkit, Label: c.Label, Account: c.AccountLabel, State: states[c.Status], Since: c.CreatedAt, Used: c.LastUsed, Scopes: c.Scopes}
		r.Users, r.ReadOnly, r.MayLimit = s.usersOf(c), c.ReadOnly, !c.ReadOnly && s.tellsReads(c.Toolkit)
		r.Added = c.Status == connection.Added
		_, r.MayRest = c.Status.After(connection.SwitchOff)
		_, r.Rests = c.Status.After(connection.SwitchOn)
		if of, several := defaults[toolkitOf(c.Key)]; several {
			r.Several, r.Default = true, !of.Nobody && of.Default == c.Key.Account
		}
		if e, known := s.cfg.Toolkits[c.Toolkit]; known {
			check, _ := e.Toolkit.Check()
			r.Toolkit, r.Said, r.Another = e.Toolkit.Name, saidOf(e.Toolkit, c.Variables), s.offered(&part{Toolkit: c.Toolkit})
			r.MayConnect = r.Added && r.Another
			r.MayTest = check != "" && c.Status == connection.Active
			r.MayRefresh = e.Toolkit.OAuth != nil && !c.RefreshToken.IsZero() && c.Status == connection.Active
		}
		data.Rows = append(data.Rows, r)
	}
	slices.SortFunc(data.Rows, func(a, b row) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Toolkit), strings.ToLower(b.Toolkit)), strings.Compare(a.place.Toolkit, b.place.Toolkit), strings.Compare(a.place.Tenant, b.place.Tenant), strings.Compare(a.Account, b.Account), strings.Compare(a.ID, b.ID))
	})
	for i := range data.Rows {
		if i+1 < len(data.Rows) && data.Rows[i+1].place == data.Rows[i].place {
			data.Rows[i].Another = false
		}
	}
	s.inPages(v, &data)
	v.w.Header().Set("Referrer-Policy", "same-origin")
	s.show(v, http.StatusOK, "mine.html", "'self'", data)
}

// toolkitOf is the same for all connections of a user to a toolkit.
func toolkitOf(key connection.Key) connection.Key {
	key.Account = ""
	return key
}

// defaultsOf gives the accounts of each toolkit of which the user has several.
func (s *Service) defaultsOf(ctx context.Context, conns []connection.Connection) (map[connection.Key]connection.Accounts, error) {
	count, defaults := map[connection.Key]int{}, map[connection.Key]connection.Accounts{}
	for _, c := range conns {
		key := toolkitOf(c.Key)
		if count[key]++; count[key] != 2 {
			continue
		}
		of, err := s.cfg.Vault.Accounts(ctx, key)
		if err != nil {
			return nil, err
		}
		defaults[key] = of
	}
	return defaults, nil
}

// states are the statuses in people's words.
var states = map[connection.Status]string{
	connection.Added:        "is added, and not connected yet",
	connection.Active:       "works",
	connection.Expired:      "has ended; connect again from your chat",
	connection.Error:        "is not accepted at the moment",
	connection.Revoked:      "was taken back",
	connection.Inactive:     "is switched off",
	connection.Insufficient: "works for a part of what was asked",
}

var mineNotices = map[undoing]string{
	undone:     "Disconnected. The access was taken back at the other service too.",
	undoneHere: "Disconnected. Nothing here uses your account any more. To end the access at the other service as well, remove it from the connected apps there.",
	removed:    "Removed. Nothing had been connected.",
	works:      "It works: the other service takes the access that is kept here.",
	ailing:     "The other service does not take the access that is kept here. Connect again from your chat.",
	unsure:     "The other service could not be asked just now. Try again in a few minutes.",
	fresh:      "The access was renewed.",
	stale:      "The access could not be renewed just now. What is there goes on being used.",
	rested:     "Switched off. Nothing here uses this account until you switch it on again.",
	woken:      "Switched on. Assistants can use this account again.",
	allowed:    "Allowed. The assistant can use this account from now on.",
	barred:     "Taken back. That assistant does not use this account any more.",
	renamed:    "The name was changed.",
	misnamed:   "That cannot be a name: up to 60 characters on one line, please. Nothing was changed.",
	taken:      "Another one of your accounts is called that. Nothing was changed.",
	narrowed:   "Assistants can only read with this account from now on.",
	widened:    "Assistants can change things with this account again.",
	chosen:     "Assistants use this account from now on when they name none.",
	undonePart: "Disconnected. Nothing here uses your account any more. The other service could not be told yet; that is tried again by itself.",
}

var nobodyAsks = message{"This page is not available here", "This service does not ask who you are, so it cannot show what is yours.",
	"Remove the access from the connected apps at the other service. Whoever runs this service can set up how users are recognised."}
