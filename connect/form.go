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
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/toolgate/toolgate/audit"
	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	// maxSecret bounds one field, in bytes. No key is as long, and all fields together
	// have to fit into a record.
	maxSecret = 4 << 10
	// maxForm bounds a form: each byte of a field may be written as three.
	maxForm = 3*maxSecret*toolkit.MaxFields + 8<<10
)

// What is wrong with what was entered, before anybody is asked.
const (
	notFilledIn = "Something is missing. Please fill in everything."
	tooLong     = "That is too long to be right, so nothing was saved. Please copy it once more."
	notAKey     = "There are spaces or characters in it that a key cannot have, so nothing was saved. Please copy it once more."
	notAName    = "A user name has no colon and no control characters, and neither has a password control characters. Nothing was saved."
	enterAgain  = "This page was open twice. Please enter it once more."
)

// input is one field of the form. It has no value: what was entered is never shown
// again, not even to who has just mistyped it.
type input struct{ Name, Label, Type string }

func inputs(auth toolkit.Auth) []input {
	all := make([]input, 0, len(auth.Fields))
	for _, f := range auth.Fields {
		i := input{inputName(f), f.Label, "password"}
		if f.Name == toolkit.Username && auth.Kind == toolkit.Basic && len(auth.Fields) == 2 {
			i.Type = "text" // the password beside it is what is secret
		}
		all = append(all, i)
	}
	return all
}

// inputName keeps fields apart from the form's own: a provider's may be called token.
func inputName(f toolkit.Field) string { return "key." + f.Name }

// formPage asks for a key of the user's own.
func (s *Service) formPage(v visit, status int, l *part, notice string) {
	tk := s.cfg.Toolkits[l.Toolkit].Toolkit
	if notice == pressAgain {
		notice = enterAgain
	}
	check, _ := tk.Check()
	v.w.Header().Set("Referrer-Policy", "same-origin") // see confirmPage
	back, to := s.wayBack(l, notice)
	asked, err := s.questions(v, l)
	if err != nil {
		s.trouble(v, l, "asked", err)
		return
	}
	reading, err := s.reading(v, l)
	if err != nil {
		s.trouble(v, l, "link", err)
		return
	}
	s.show(v, status, "form.html", s.formActions(l.link), view{
		Title: s.say(v, "Connect %s", tk.Name), Toolkit: tk.Name, Agent: l.Agent, User: l.User, Account: l.wantedName(), Token: s.formToken(s.greet(v), l.ID),
		Minutes: s.minutesLeft(l.link), Notice: notice, Host: apiHost(tk), Asked: asked,
		Back: back, BackTo: to,
		Inputs: inputs(tk.Auth), Help: tk.Help, HelpURL: tk.HelpURL, Checked: check != "", Reading: reading,
	})
}

// apiHost is the host of a toolkit's API, for people: where theirs is not known yet, the
// part that is the same for all.
func apiHost(tk *toolkit.Toolkit) string {
	if _, own, varies := strings.Cut(tk.BaseURL.Host, "}."); varies {
		return own
	}
	return tk.BaseURL.Host
}

func (s *Service) minutesLeft(l *link) int {
	left := max(l.Expires.Sub(s.cfg.Now()), 0)
	return int((left + time.Minute - 1) / time.Minute)
}

// entered reads the form, by the names of the toolkit's fields. wrong is what to tell
// the user.
func entered(form url.Values, auth toolkit.Auth) (values map[string]string, wrong string) {
	values = map[string]string{}
	for _, f := range auth.Fields {
		sent := form[inputName(f)]
		if len(sent) != 1 {
			return nil, notFilledIn
		}
		value := strings.TrimSpace(sent[0])
		switch {
		case value == "":
			return nil, notFilledIn
		case len(value) > maxSecret:
			return nil, tooLong
		case auth.Kind == toolkit.Basic && !fitsBasic(f, value):
			return nil, notAName
		case auth.Kind != toolkit.Basic && strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, notAKey // no header could carry it (RFC 9110 §5.5), or only with luck
		}
		values[f.Name] = value
	}
	return values, ""
}

// fitsBasic is RFC 7617 §2: both are encoded, so they may be in any language.
func fitsBasic(f toolkit.Field, value string) bool {
	return utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl) &&
		(f.Name != toolkit.Username || !strings.Contains(value, ":"))
}

// takeKey is the form of a toolkit whose users have keys of their own. It is called
// where the button of any other would send the browser to the provider: the form is
// ours, and the right person sent it.
func (s *Service) takeKey(v visit, l *part) {
	tk := s.cfg.Toolkits[l.Toolkit].Toolkit
	said, ok := s.heardOut(v, l)
	if !ok {
		return
	}
	l.Reading = s.readingSaid(v.r, l.Toolkit)
	values, wrong := entered(v.r.PostForm, tk.Auth)
	if wrong != "" {
		s.formPage(v, http.StatusUnprocessableEntity, l, wrong)
		return
	}
	now := s.cfg.Now()
	// On paper before the key leaves for the provider.
	if err := s.cfg.Audit.Record(l.record(now, audit.LinkOpened, v.id, "")); err != nil {
		s.trouble(v, l, "audit", err)
		return
	}
	// The browser may be closed now, and the key is kept all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), finishLimit)
	defer cancel()
	// One at a time: of a double click, or of two tabs, one gets past here.
	err := s.take(ctx, l, hash(s.browser(v.r)), func(p *part) {
		p.Started, p.Busy, p.Failure, p.Browser, p.Asked, p.Reading = now, now.Add(finishLimit), "", "", said, l.Reading
	})
	if errors.Is(err, errTaken) {
		v.redirect(s.linkURL(l.ID))
		return
	} else if err != nil {
		s.trouble(v, l, "start", err)
		return
	}
	s.report("started", v, l, "", nil)
	failure := s.takeIn(ctx, v, l, tk, said, credential.Pack(tk.Auth, values))
	s.showEnd(v, l, failure, s.conclude(ctx, v, l, hash(s.browser(v.r)), failure))
}

// takeIn checks a key and saves it. It gives the word for what went wrong, or "".
func (s *Service) takeIn(ctx context.Context, v visit, l *part, tk *toolkit.Toolkit, said map[string]string, key secret.String) (failure string) {
	account, failure, err := "", "", error(nil)
	if own, where := tk.For(said); where != nil {
		failure, err = ours, where
	} else {
		account, failure, err = s.check(ctx, own, key)
	}
	unknown := err // where the key is good
	if failure == "" && !tk.Expects(account, l.User) {
		if failure, err = otherAccount, errNotExpected; unknown != nil {
			failure, err = nameless, unknown
		}
	}
	if failure == "" {
		failure, err = s.fits(ctx, l, tk, said, account, unknown)
	}
	if failure == "" {
		failure, err = s.keepKey(ctx, v, l, tk, said, key, account, unknown)
	}
	if failure == "" {
		s.report("connected", v, l, "", nil)
		return ""
	}
	s.report("failed", v, l, failure, err)
	if err := s.cfg.Audit.Record(l.record(s.cfg.Now(), audit.ConnectFail, v.id, failure)); err != nil {
		s.report("trouble", v, l, "audit", err) // nothing was done that it could stop
	}
	return failure
}

// keepKey saves a key as the user's connection. An earlier one keeps its id. unknown is why
// its account is not known.
func (s *Service) keepKey(ctx context.Context, v visit, l *part, tk *toolkit.Toolkit, said map[string]string, key secret.String, account string, unknown error) (failure string, err error) {
	now := s.cfg.Now()
	// On paper before it can be used.
	if err := s.cfg.Audit.Record(l.record(now, audit.Connected, v.id, l.access())); err != nil {
		return ours, err
	}
	var conn connection.Connection
	var p place
	err = persist(ctx, func() (err error) {
		if p, err = s.place(ctx, l); err != nil {
			return err
		}
		failure, _ = p.owned(account, unknown) // since fits has looked, another account may have come
		if p.elsewhere(tk, said) {
			failure = notThisOne
		}
		if failure != "" {
			return nil
		}
		if err := s.settle(ctx, &p, tk, account, said); err != nil {
			return err
		}
		fresh := p.granted(tk, oauth.Grant{AccessToken: key, IssuedAt: now, Variables: said}, now)
		fresh.AccountLabel = account
		conn, err = s.put(ctx, p, fresh)
		return err
	})
	if err != nil {
		return ours, fmt.Errorf("keeping a key: %w", err)
	}
	if failure != "" {
		return failure, cmp.Or(unknown, errAnotherHere)
	}
	l.Account, l.Asked, l.kept, l.before, l.ReadOnly = account, said, conn.Key, p.before, conn.ReadOnly
	s.cfg.Connected(conn)
	return "", nil
}
