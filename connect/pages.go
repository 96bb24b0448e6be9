// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// pages are parsed once; templates are safe for concurrent use.
var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// assets are what pages load, by the name below connect/; link ids begin with "c_" and
// cannot be one.
var assets = map[string]string{"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}

// view is what a page shows.
type view struct {
	Lang      string // of the page
	Brand     string // whose the page is
	HasLogo   bool
	HasColor  bool
	Assets    string // where they are
	Title     string
	RequestID string
	Message   message

	Toolkit  string
	Agent    string
	User     string
	Scopes   []string
	Token    string // of the form
	Shown    string // of what it says about a connection
	Minutes  int    // that the link still lives
	Notice   string
	Account  string
	Label    string    // that the user or an agent gave the connection
	Since    time.Time // it was made
	Users    []string  // agents that may use it
	Approved bool      // an agent may use what was connected before
	Host     string    // of the page that the button leads to

	Reading  *readingChoice // the box that allows reading only
	ReadOnly bool           // that is so

	Asked         []question // which server it is
	Inputs        []input    // for a key of the user's own
	Help, HelpURL string     // where it is found
	Checked       bool       // it was or will be tried out before it is saved

	Back, BackTo string // the address of the operator's application, and its host

	Link           string // where the form goes, if not to the page itself
	Mine           string // the page of all that is connected, where there is one
	Rows           []row
	Earlier, Later string // addresses of the other pages of rows
	PageOf         string // such as "2 of 3"; "" where there is one
	Tasks          []task // of a link for several toolkits
	Done           int    // of them
	SignedInAs     string // somebody for whom the link is not
}

// message is a page that says what happened and what to do.
type message struct{ Title, Text, Advice string }

var (
	linkUnknown = message{"This link is not known here", "It may have been copied incompletely, or it is more than a day old.",
		"Ask the assistant in your chat for a new link and open that one."}
	linkExpired = message{"This link has expired", "Links are good for a short time only, so that nobody else can use them later.",
		"Ask the assistant in your chat for a new link. It takes a moment."}
	linkUsed = message{"This link has done its work", "It was used to connect an account, and a link does that only once.",
		"If it was you, go back to your chat: everything is ready. If you did not connect anything, tell whoever runs this service."}
	linkEnded = message{"This link was called off", "It was cancelled here, or whoever runs this service has ended it. Nothing can be connected with it any more.",
		"If you want to connect after all, ask the assistant in your chat for a new link."}
	linkBusy = message{"One moment", "The answer of the other service is being worked on.",
		"This page looks again by itself in two seconds."}
	otherPerson = message{"This link is for somebody else", "You are signed in here, and it was not made for you.",
		"Close the page. If somebody sent you this link, do not go on: it would give them the use of your account."}
	notForYou = message{"This page is not for you", "You are signed in, and nobody has set up an assistant here that works for you.",
		"Go back to where you came from. Whoever runs this service can set up for whom it works."}
	notSignedIn = message{"Please sign in first", "To keep accounts safe, this link opens only for the person it was made for, and we cannot tell who you are.",
		"Sign in to the site that you use the assistant with, and open the link again in this browser."}
	notRecognised = message{"We could not recognise you", "The sign-in was declined, or it is for somebody whom this service does not know.",
		"Open the link from your chat again, and sign in with the account that you use there."}
	signInUnknown = message{"This sign-in cannot be finished", "It was finished before, took longer than ten minutes, or was not started here.",
		"Open the link in your chat again and start over."}
	toolkitGone = message{"This service was set up anew meanwhile", "What this link would connect is not offered here in that form any more.",
		"Ask the assistant in your chat for a new link."}
	stateUnknown = message{"This sign-in cannot be finished", "It was finished before, took longer than ten minutes, or was not started here.",
		"Open the link in your chat again and start over. Nothing was connected just now."}
	otherBrowser = message{"This sign-in was started in another browser", "To keep your accounts safe, it has to be finished in the browser where it was started.",
		"Open the link from your chat in this browser and start over. If somebody sent you here, do not go on."}
	issuerWrong = message{"The answer came from another service", "The sign-in was started with one service and answered by another one, so it was stopped.",
		"Open the link in your chat again. If this happens twice, tell whoever runs this service."}
	formForeign = message{"This was not sent from our page", "The button has to be pressed on the page that your link opens.",
		"Open the link from your chat again and press the button there."}
	formStale = message{"Please open the link once more", "Your browser did not send the cookie that belongs to this page. It may block cookies, or the page was open for very long.",
		"Open the link from your chat again, with cookies allowed for this site, and press the button."}
	notFromHere = message{"Only for this computer", "This service is set up for use on the computer that it runs on, since it cannot tell who you are.",
		"Open the link on that computer. Whoever runs this service can set up how users are recognised."}
	tooMany = message{"Too many people sign in at the moment", "More sign-ins were begun from where you are than this service takes at once.",
		"Try again in a few minutes."}
	tooManyLinks = message{"Too many links are open", "There are many links already for accounts that you have not connected.",
		"Use one of those, or try again in a few minutes."}
	notAPage = message{"There is nothing here", "This address does not take what your browser sent.",
		"Open the link from your chat again."}
	troubleNow = message{"That did not work just now", "The service has a problem at the moment. Nothing is lost.",
		"Try again in a minute. If it stays like this, tell whoever runs this service, with the number below."}
)

// notices say what went wrong on the way, above the button.
var notices = map[string]string{
	denied:        "You declined, so nothing was connected. You can try again.",
	misconfigured: "The other service did not accept our request. Only whoever runs this service can mend that.",
	unavailable:   "The other service has a problem at the moment. Try again in a few minutes.",
	failed:        "That did not work. Nothing was connected; you can try again.",
	otherAccount:  "That account is not the one that is expected here, so it was not connected. Sign in there with your own account and try again.",
	nowhere:       "The other service did not say where your account is to be found, or named a place that is not expected here, so nothing was connected. Only whoever runs this service can mend that.",
	several:       "You gave access to several places at the other service, and we cannot choose between them, so nothing was connected. Take the access to the others back in your settings there, or sign in with an account that has one, and try again.",
	altered:       "The address that brought you back here is not complete, or was changed on the way, so nothing was connected. You can try again.",
	unproven:      "The other service does not confirm that you may use the account that the address named which brought you back here, so nothing was connected. You can try again, and choose an account there that is yours.",
	notThisOne:    "That is another account than the one that is connected here, so nothing was changed. Go on with the same account as before. To use both, ask your assistant for the other one by its name.",
	unsigned:      "The answer does not bear the signature of the other service, so nothing was connected. You can try again. If this happens twice, tell whoever runs this service.",
	otherPlace:    "You agreed in another place than the one that you had named here, so nothing was connected. Check what you entered, and sign in there.",
	nameless:      "The other service could not be asked just now whose account this is, so nothing was changed. What was connected before stays as it is. Try again in a few minutes.",
	wrongKey:      "The other service does not accept what you entered, so nothing was saved. Check that you copied all of it, and that it has not been deleted there.",
	away:          "The other service could not be asked whether this is right, so nothing was saved. Try again in a few minutes.",
	unchecked:     "The other service does not say whether this is right, so nothing was saved. Only whoever runs this service can mend that.",
	changed:       "What this page showed has changed meanwhile, so nothing was done. Look at it once more.",
	ours:          "You agreed, but we could not save the access, so nothing was connected. Try again in a minute.",
}

const pressAgain = "This page was open twice. Please press the button once more."

func (s *Service) confirmPage(v visit, status int, l *part, notice string) {
	tk := s.cfg.Toolkits[l.Toolkit].Toolkit
	if conn, ok, err := s.approvable(v.r.Context(), l); err != nil {
		s.trouble(v, l, "link", err)
		return
	} else if ok {
		s.approvePage(v, status, l, conn, notice)
		return
	}
	if tk.OAuth == nil {
		s.formPage(v, status, l, notice)
		return
	}
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
	authorize, host := placeOf(tk, asked)
	// Not no-referrer: browsers then send "Origin: null" with the form.
	v.w.Header().Set("Referrer-Policy", "same-origin")
	back, to := s.wayBack(l, notice)
	s.show(v, status, "confirm.html", s.formActions(l.link, authorize), view{
		Title: s.say(v, "Connect %s", tk.Name), Toolkit: tk.Name, Agent: l.Agent, User: l.User, Scopes: tk.OAuth.Asking(l.Scopes).Scopes,
		Account: l.wantedName(), Token: s.formToken(s.greet(v), l.ID), Minutes: s.minutesLeft(l.link),
		Notice: notice, Host: host, Asked: asked, Back: back, BackTo: to, Reading: reading,
	})
}

// mine is the address of what a person has connected, where it can be shown.
func (s *Service) mine() string {
	if !s.verifies() {
		return ""
	}
	return s.mineURL("")
}

// signInPage asks who it is. as is whom the browser is signed in as by now, or "".
// l is nil for a page of the person's own.
func (s *Service) signInPage(v visit, l *part, page, as string) {
	place, status := s.cfg.SignIn.Place(), http.StatusOK
	if as != "" {
		status = http.StatusForbidden
	}
	browser := s.greet(v)
	data := view{Title: s.say(v, "Sign in"), Link: s.mineURL(""), Token: s.formToken(browser, page), Host: place.Host, SignedInAs: as}
	if page == projectPath {
		data.Link, data.Agent = s.projectURL(), s.cfg.Project.Agent
	}
	if l != nil {
		name := s.names(l.link)
		data.Title, data.Toolkit, data.Agent = s.say(v, "Sign in to connect %s", name), name, l.Agent
		data.Link, data.Token = s.linkURL(l.ID), s.formToken(browser, l.ID)
	}
	v.w.Header().Set("Referrer-Policy", "same-origin")
	s.show(v, status, "signin.html", formActions(place), data)
}

func (s *Service) donePage(v visit, l *part) {
	tk := s.cfg.Toolkits[l.Toolkit].Toolkit
	check, _ := tk.Check()
	data := view{
		Title: s.say(v, "%s is connected", tk.Name), Toolkit: tk.Name, Agent: l.Agent, User: l.User, Account: l.Account, Asked: saidOf(tk, l.Asked), Mine: s.mine(),
		Inputs: inputs(tk.Auth), Checked: check != "", Back: s.callback(l.link, connected), Approved: l.Approved, ReadOnly: l.ReadOnly,
	}
	data.Checked = data.Checked || l.Approved // nothing was entered
	s.show(v, http.StatusOK, "done.html", "'none'", data)
}

func (s *Service) message(v visit, status int, m message) {
	s.show(v, status, "message.html", "'none'", view{Title: s.say(v, m.Title), Message: m})
}

// trouble is a page for a fault of ours, which passes; the cause goes to the log.
func (s *Service) trouble(v visit, l *part, where string, err error) {
	s.report("trouble", v, l, where, err)
	s.sorry(v)
}

func (s *Service) sorry(v visit) {
	v.w.Header().Set("Retry-After", "5")
	s.message(v, http.StatusServiceUnavailable, troubleNow)
}

// formActions are where the forms of a link's page may lead: to the provider, and at
// the end to the operator's application.
func (s *Service) formActions(l *link, onward ...*url.URL) string {
	if to, err := url.Parse(s.callback(l, connected)); err == nil && to.Host != "" {
		onward = append(onward, to)
	}
	return formActions(onward...)
}

// formActions are where the form may lead. Chromium applies form-action to every
// redirect after the POST, so the provider's origin has to be in it; and since
// providers send people on to a login host of theirs, so does every https address
// where the provider is on https. Our own page has nothing that could be injected
// into; this is the second line.
func formActions(onward ...*url.URL) string {
	actions, anywhere := []string{"'self'"}, false
	for _, to := range onward {
		if origin := to.Scheme + "://" + to.Host; !slices.Contains(actions, origin) {
			actions = append(actions, origin)
		}
		anywhere = anywhere || to.Scheme == "https"
	}
	if anywhere {
		actions = append(actions, "https:")
	}
	return strings.Join(actions, " ")
}

// show writes a page. It has no script, loads nothing from elsewhere, and cannot be
// put into a frame.
func (s *Service) show(v visit, status int, page, formAction string, data view) {
	data.Lang = s.language(v.r)
	s.brand(&data)
	data.Assets, data.RequestID = s.prefix+"/connect", v.id
	var text bytes.Buffer
	if err := pages.ExecuteTemplate(&text, page, data); err != nil {
		s.report("trouble", v, nil, "page", err)
		http.Error(v.w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", data.Lang)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "+formAction)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	if h.Get("Referrer-Policy") == "" {
		h.Set("Referrer-Policy", "no-referrer") // the callback's address holds a code
	}
	h.Set("Content-Length", strconv.Itoa(text.Len()))
	v.w.WriteHeader(status)
	_, _ = v.w.Write(text.Bytes())
}

func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	text, err := pageFiles.ReadFile("pages/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", assets[name])
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text)
}
