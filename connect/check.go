// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/toolgate/toolgate/credential"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

const (
	checkLimit = 8 * time.Second
	maxAnswer  = 1 << 20 // bytes that are read of an answer
)

// The words for what a check can come to besides a key that is good.
const (
	wrongKey  = "wrong_key"         // the provider says no
	away      = "check_unavailable" // it does not say, but will
	unchecked = "check_failed"      // it does not say, and only the operator can mend that
)

// check asks the provider whether a user's key is good, and whose it is. Only a clear
// yes is one: a key that is saved on a doubtful answer fails later, in the middle of
// what the agent does. Where the key is good and whose it is could not be asked, err
// wraps errNameless.
func (s *Service) check(ctx context.Context, tk *toolkit.Toolkit, key secret.String) (account, failure string, err error) {
	path, query := tk.Check()
	if path == "" {
		return "", "", nil
	}
	short, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	a, err := s.ask(short, tk, path, query, key)
	switch {
	case err != nil:
		return "", away, bare(err)
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden, a.refuses(tk.Auth.Refused):
		return "", wrongKey, nil
	case a.fails():
		return "", away, fmt.Errorf("the provider answers %d", a.status)
	case a.status < 200, a.status > 299:
		// A redirect too, which leads to a page for people: nobody follows it with a key.
		return "", unchecked, fmt.Errorf("the provider answers %d", a.status)
	case tk.Probe == "":
		return label(a.text, tk.Identity.Field), "", nil
	}
	account, err = s.account(ctx, tk, key)
	return account, "", err
}

// answer is what a provider said to a call of ours.
type answer struct {
	status int
	text   []byte // as far as it was read
}

// ask calls the toolkit's API as any call of an agent's would be made: by its own
// transport, to its own host, with its headers. A RoundTripper follows no redirect.
func (s *Service) ask(ctx context.Context, tk *toolkit.Toolkit, path, query string, token secret.String) (answer, error) {
	target, err := tk.Target(path, query)
	if err != nil {
		return answer{}, err
	}
	return s.askAt(ctx, tk, target, token)
}

// askAt is ask for an address that is known.
func (s *Service) askAt(ctx context.Context, tk *toolkit.Toolkit, target *url.URL, token secret.String) (answer, error) {
	upstream := s.cfg.Toolkits[tk.ID].Upstream
	if upstream == nil {
		return answer{}, errors.New("there is no way to the provider")
	}
	req := (&http.Request{
		Method: http.MethodGet, URL: target, Host: target.Host,
		Header: http.Header{"Accept": {"application/json"}, "User-Agent": {"toolgate"}},
	}).WithContext(ctx)
	for name, value := range tk.Headers {
		req.Header.Set(name, value)
	}
	credential.For(tk.Auth, token).Apply(req)
	res, err := upstream.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode}
	if a.status >= 200 { // the body of 101 has no end
		// What cannot be read any more is no failure: the status was there.
		a.text, _ = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	}
	return a, nil
}

// fails reports whether the provider has a problem that passes.
func (a answer) fails() bool {
	return a.status >= 500 || a.status == http.StatusTooManyRequests || a.status == http.StatusRequestTimeout
}

// refuses reports whether the answer is the provider's own way to say 401.
func (a answer) refuses(sign *toolkit.Sign) bool {
	return sign != nil && a.status == sign.Status && slices.Contains(sign.Values, label(a.text, sign.Field))
}

// bare is why there was no answer, for the operator's log. net/http quotes addresses,
// which may hold the key, and what it cannot read as an answer, which may be an echo;
// of an address that could not be dialled it says no more than which.
func bare(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return dial
	}
	return errors.New("the connection to the provider failed")
}
