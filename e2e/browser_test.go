// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// person is somebody with a browser profile of their own.
type person struct {
	t       *testing.T
	ctx     context.Context
	watcher *watcher
}

// chromium finds the browser. Without one the test has nothing to say, except where
// it has been promised.
func chromium(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	if path := os.Getenv("CHROMIUM"); path != "" {
		names = []string{path}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("TOOLGATE_REQUIRE_REAL") == "1" {
		t.Fatalf("no Chromium: tried %s, and TOOLGATE_REQUIRE_REAL is set", strings.Join(names, ", "))
	}
	t.Skipf("no Chromium: tried %s; $CHROMIUM names another", strings.Join(names, ", "))
	return ""
}

// newPerson starts a Chromium that may reach the world's two origins and nothing
// else; it has no extensions, no profile and nothing to do in the background.
func newPerson(t *testing.T, w *world) *person {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless,
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-default-apps", true),
		// Whatever a page would fetch from elsewhere fails loudly.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses root otherwise
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	return open(t, ctx, w)
}

// another is somebody else at the same machine: no cookie is shared.
func (p *person) another(w *world) *person {
	p.t.Helper()
	return open(p.t, p.ctx, w, chromedp.WithNewBrowserContext())
}

func open(t *testing.T, parent context.Context, w *world, options ...chromedp.ContextOption) *person {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	p := &person{t: t, ctx: ctx, watcher: &watcher{allowed: []string{w.toolgate, w.acme}}}
	if err := chromedp.Listen(ctx, p.watcher.see); err != nil { // which starts the browser
		t.Fatal(err)
	}
	p.do(
		command(network.Enable, network.EnableParams{}),
		command(cdplog.Enable, cdp.Empty{}),
		command(runtime.Enable, cdp.Empty{}),
		command(audits.Enable, cdp.Empty{}),
	)
	t.Cleanup(func() {
		for _, complaint := range p.watcher.complaints() {
			t.Error(complaint)
		}
	})
	return p
}

// command is a command of the DevTools protocol as an action.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, c, params)
		return err
	})
}

// result is a command that gives something.
func result[P, R any](c cdp.Command[P, R], params P) chromedp.Action[R] {
	return func(ctx context.Context, tab *chromedp.Target) (R, error) { return cdp.Call(ctx, tab, c, params) }
}

func (p *person) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// finds does what gives a value.
func finds[T any](p *person, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// goes does what leads to another page and gives that one's status.
func (p *person) goes(actions ...chromedp.Action[chromedp.Void]) int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	res, err := chromedp.RunResponse(ctx, actions...)
	if err != nil {
		p.t.Fatal(err)
	}
	if res == nil {
		p.t.Fatal("no page came")
	}
	return int(res.Status)
}

// opens gives the status of the page at address.
func (p *person) opens(address string) int {
	p.t.Helper()
	return p.goes(chromedp.Navigate(address))
}

// presses a button, by the words on it, and gives the next page's status.
func (p *person) presses(words string) int {
	p.t.Helper()
	return p.goes(p.clickOn("button", words))
}

// clickOn is a click of the mouse in the middle of what the selector finds with these
// words. Where that is, the page itself is asked: chromedp's own queries go by node
// ids, which now and then are of the page before.
func (p *person) clickOn(selector, words string) chromedp.Action[chromedp.Void] {
	p.t.Helper()
	middle := finds(p, chromedp.Evaluate[[]float64](fmt.Sprintf(`(() => {
		const e = [...document.querySelectorAll(%q)].find((e) => e.innerText.includes(%q));
		if (!e) return [];
		e.scrollIntoView({ block: "center", behavior: "instant" });
		const r = e.getBoundingClientRect();
		return [r.x + r.width / 2, r.y + r.height / 2];
	})()`, selector, words)))
	if len(middle) != 2 {
		p.t.Fatalf("there is no %s %q on the page:\n%s", selector, words, p.reads())
	}
	return chromedp.MouseClickXY(middle[0], middle[1])
}

// reads gives the text of the page, as it is shown.
func (p *person) reads() string {
	p.t.Helper()
	return finds(p, chromedp.Evaluate[string]("document.body.innerText"))
}

// sees expects each text on the page.
func (p *person) sees(texts ...string) {
	p.t.Helper()
	page := p.reads()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			p.t.Errorf("the page does not say %q; it says\n%s", text, page)
		}
	}
}

// hides expects none of the texts on the page.
func (p *person) hides(texts ...string) {
	p.t.Helper()
	page := p.reads()
	for _, text := range texts {
		if strings.Contains(page, text) {
			p.t.Errorf("the page says %q:\n%s", text, page)
		}
	}
}

// watcher looks over what a browser does behind the pages.
type watcher struct {
	allowed []string

	mu      sync.Mutex
	said    []string
	answers []string // addresses with a code and a state in them
}

func (w *watcher) see(event any) {
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if origin := originOf(e.Request.URL); !slices.Contains(w.allowed, origin) && origin != "about:" {
			w.note("a page asked for " + e.Request.URL)
		}
		if strings.Contains(e.Request.URL, "/callback/") {
			w.mu.Lock()
			w.answers = append(w.answers, e.Request.URL)
			w.mu.Unlock()
		}
	case *runtime.EventConsoleAPICalled:
		w.note("a page wrote to the console: " + string(e.Type))
	case *runtime.EventExceptionThrown:
		w.note("a script failed: " + e.ExceptionDetails.Text)
	case *cdplog.EventEntryAdded:
		// The status of the page itself, such as 410, is meant to be.
		if e.Entry.Source != cdplog.EntrySourceNetwork || !isPage(e.Entry.URL) {
			w.note("the console says: " + e.Entry.Text + " " + e.Entry.URL)
		}
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
			d := e.Issue.Details.ContentSecurityPolicyIssueDetails
			w.note("the policy was violated: " + d.ViolatedDirective + " " + d.BlockedURL)
		}
	}
}

func (w *watcher) note(complaint string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.said, complaint) {
		w.said = append(w.said, complaint)
	}
}

func (w *watcher) complaints() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said)
}

func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	if u.Host == "" {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

// isPage reports whether the address is a page's and not of something on it.
func isPage(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (strings.HasPrefix(u.Path, "/connect/c_") || strings.HasPrefix(u.Path, "/callback/") || strings.HasPrefix(u.Path, "/app/"))
}
