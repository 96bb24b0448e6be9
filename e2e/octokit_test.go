// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/gateway/gatewaytest"
	"github.com/toolgate/toolgate/toolkit"
)

// octokitVersion is the SDK that is used, from the npm registry.
const octokitVersion = "22.0.1"

const packed = "\x1f\x8b a tarball"

func TestOctokitReadsAllPagesAndDownloadsAnArchive(t *testing.T) {
	modules := octokit(t)
	w, codeload := gitHub(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "--input-type=module", "-")
	node.Dir = modules // where imports of a script from standard input are looked for
	node.Env = append(os.Environ(), "GATEWAY="+w.H1+"/github", "AGENT_KEY="+gatewaytest.AgentKey, "AGENT_USER=ada")
	script, err := os.Open("octokit.mjs")
	if err != nil {
		t.Fatal(err)
	}
	defer script.Close()
	var complaints strings.Builder
	node.Stdin, node.Stderr = script, &complaints
	printed, err := node.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &complaints)
	}
	var got struct {
		Titles  []string
		Status  int
		Archive string
	}
	if err := json.Unmarshal(printed, &got); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	if want := []string{"one", "two", "three", "four", "five"}; !slices.Equal(got.Titles, want) {
		t.Errorf("octokit.paginate gave %q, want %q", got.Titles, want)
	}
	if want := strings.ToValidUTF8(packed, "\ufffd"); got.Status != 200 || got.Archive != want {
		t.Errorf("the archive came as %d %q, want %q", got.Status, got.Archive, want)
	}
	checkSeen(t, w.Provider.Seen(), 4, "Bearer "+gatewaytest.UserToken)
	checkSeen(t, codeload.Seen(), 1, "")
}

// checkSeen looks at who GitHub thinks has called.
func checkSeen(t *testing.T, seen []gatewaytest.Seen, calls int, authorization string) {
	t.Helper()
	if len(seen) != calls {
		t.Errorf("%d calls came, want %d", len(seen), calls)
	}
	for _, s := range seen {
		if got := s.Header.Get("Authorization"); got != authorization {
			t.Errorf("%s %s came with %q, want %q", s.Method, s.URI, got, authorization)
		}
		if text := fmt.Sprint(s.URI, s.Header); strings.Contains(text, gatewaytest.AgentKey) || s.Header.Get("X-User-Id") != "" {
			t.Errorf("the agent's key or user came along: %s", text)
		}
	}
}

// gitHub is a gateway with the catalogue's toolkit github, and fakes of GitHub's API
// and of the host of its archives behind it.
func gitHub(t *testing.T) (*gatewaytest.World, *gatewaytest.Provider) {
	t.Helper()
	codeload := gatewaytest.NewProvider(t, false)
	codeload.Handle(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-gzip")
		_, _ = io.WriteString(w, packed)
	})
	downloads := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "codeload.github.com:80" {
			return nil, errors.New("a download from " + address)
		}
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(codeload.URL, "http://"))
	}}
	t.Cleanup(downloads.CloseIdleConnections)
	var github *toolkit.Toolkit
	w := gatewaytest.New(t, gatewaytest.Options{Edit: func(c *gateway.Config) {
		d, _ := toolkit.Builtin("github")
		acme := c.Toolkits["acme"]
		d.BaseURL, d.OAuth.ClientID = strings.TrimSuffix(acme.Toolkit.BaseURL.String(), "/api"), "toolgate"
		var err error
		if github, err = d.Toolkit(); err != nil {
			t.Fatal(err)
		}
		github.Missing = nil // it renews nothing here, so it needs no secret
		c.Toolkits["github"] = gateway.Endpoint{Toolkit: github, Upstream: acme.Upstream, Redirects: downloads}
	}})
	w.Credentials.Connect("ada", github, gatewaytest.UserToken)
	w.Provider.Handle(issuesAndArchive(w.Provider.URL))
	return w, codeload
}

// issuesAndArchive answers as api.github.com does.
func issuesAndArchive(self string) http.HandlerFunc {
	pages := map[string]string{
		"":  `[{"title":"one"},{"title":"two"}]`,
		"2": `[{"title":"three"},{"title":"four"}]`,
		"3": `[{"title":"five"}]`,
	}
	next := map[string]string{"": "2", "2": "3"}
	return func(w http.ResponseWriter, r *http.Request) {
		page := r.URL.Query().Get("page")
		switch {
		case r.URL.Path == "/repos/ada/notes/tarball/main":
			http.Redirect(w, r, "http://codeload.github.com/ada/notes/legacy.tar.gz/refs/heads/main?token=AAAA", http.StatusFound)
		case (r.URL.Path == "/repos/ada/notes/issues" || r.URL.Path == "/repositories/7/issues") && pages[page] != "":
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			if n := next[page]; n != "" {
				w.Header().Set("Link", fmt.Sprintf(`<%s/repositories/7/issues?per_page=2&page=%s>; rel="next", <%[1]s/repositories/7/issues?per_page=2&page=3>; rel="last"`, self, n))
			}
			_, _ = io.WriteString(w, pages[page])
		default:
			http.NotFound(w, r)
		}
	}
}

// octokit is a folder where Octokit is installed.
func octokit(t *testing.T) string {
	t.Helper()
	folder, err := fromNPM("@octokit/rest", octokitVersion)
	if err != nil {
		without(t, "Octokit", err)
	}
	return folder
}
