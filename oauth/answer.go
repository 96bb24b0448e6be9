// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/toolgate/toolgate/secret"
)

// answer is a token endpoint's answer, read with an open mind: providers send
// JSON as text/html, forms, numbers as strings, and errors with HTTP 200.
type answer struct {
	AccessToken  looseText  `json:"access_token"`
	RefreshToken looseText  `json:"refresh_token"`
	IDToken      looseText  `json:"id_token"`
	ExpiresIn    looseInt   `json:"expires_in"`
	Scope        looseWords `json:"scope"`
	Error        looseCode  `json:"error"`
	// ErrorCode is where the older half of TikTok puts its numbers.
	ErrorCode looseCode `json:"error_code"`
	// Status is where HubSpot puts its code.
	Status looseText `json:"status"`
	// User is Slack's user token, Data where TikTok puts everything.
	User *answer `json:"authed_user"`
	Data *answer `json:"data"`
}

// place says where in an answer the token is looked for.
type place struct {
	path string // "": at the top, then where others put it
	// orTop: a token at the top will do as well. So it is on a refresh, where all
	// that is answered is for the token that was sent. Of a code's answer, the top
	// may be somebody else's token, such as Slack's bot's.
	orTop bool
}

// parseAnswer reads JSON or, failing that, a form. What cannot be read is empty.
func parseAnswer(text []byte, at place) answer {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	if bytes.HasPrefix(text, []byte("{")) {
		return parseJSON(text, at)
	}
	form, _ := url.ParseQuery(string(text)) // what can be read of it
	a := answer{AccessToken: looseText(strings.TrimSpace(form.Get("access_token"))), RefreshToken: looseText(strings.TrimSpace(form.Get("refresh_token")))}
	a.ExpiresIn.parse(form.Get("expires_in"))
	a.Scope = words(form.Get("scope"))
	a.Error.code = form.Get("error")
	return a
}

func parseJSON(text []byte, at place) answer {
	a := decode(text)
	if a.failure().any() {
		return a
	}
	inner := []*answer{a.User, a.Data}
	switch {
	case at.path != "":
		deep := decode(below(text, at.path))
		inner = []*answer{&deep}
		if !at.orTop {
			a.AccessToken, a.RefreshToken = "", ""
		}
	case a.AccessToken != "":
		return a
	}
	for _, in := range inner {
		if in != nil && (in.AccessToken != "" || in.failure().any()) {
			return *in
		}
	}
	return a
}

func decode(text []byte) answer {
	var a answer
	err := json.Unmarshal(text, &a)
	// A field of the wrong type is left out; the rest has been read.
	if _, odd := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !odd {
		return answer{}
	}
	return a
}

// below gives what stands at a path, such as authed_user or result.token.
func below(text []byte, path string) []byte {
	for name := range strings.SplitSeq(path, ".") {
		var fields map[string]json.RawMessage
		if json.Unmarshal(text, &fields) != nil {
			return nil
		}
		text = fields[name]
	}
	return text
}

// maxToken is more than any token. One that is longer could not be stored.
const maxToken = 32 << 10

// usable reports whether there is an access token that can stand in a header. Saved
// without looking, one that cannot would fail every call, and nobody would be asked
// to connect.
func (a answer) usable() bool {
	return a.AccessToken != "" && visible(string(a.AccessToken)) && max(len(a.AccessToken), len(a.RefreshToken)) <= maxToken
}

func (a answer) failure() looseCode {
	if a.Error.any() {
		return a.Error
	}
	return a.ErrorCode
}

// grant is what was given. life is how long tokens live where the answer does not say.
func (a answer) grant(now time.Time, life time.Duration) Grant {
	// Wall time: the monotonic clock stands still while a laptop sleeps, and a
	// token that ended meanwhile would look good.
	now = now.Round(0).UTC()
	// A refresh token may hold anything: it is encoded wherever it is sent.
	g := Grant{AccessToken: secret.New(string(a.AccessToken)), RefreshToken: secret.New(string(a.RefreshToken)), IDToken: secret.New(string(a.IDToken)), IssuedAt: now, Scopes: a.Scope}
	if a.ExpiresIn > 0 {
		life = time.Duration(a.ExpiresIn) * time.Second
	}
	if life > 0 {
		g.ExpiresAt = now.Add(life)
	}
	return g
}

// errorCodes are the provider's, reduced to what is safe in a log: the one to show
// first. There are none where the answer is no error.
func (a answer) errorCodes(known func(string) bool) []string {
	// Many write anything into status, so it counts only if it is known.
	if status := clean(string(a.Status)); !a.failure().any() && a.AccessToken == "" && status != "" && known(status) {
		return []string{status}
	}
	if !a.failure().any() {
		return nil
	}
	var codes []string
	for _, code := range []string{a.failure().code, a.failure().number} {
		if code = clean(code); code != "" {
			codes = append(codes, code)
		}
	}
	if codes == nil {
		return []string{unknownCode} // made only of what is cut away, but an error all the same
	}
	return codes
}

// clean leaves letters, digits, _ and -, at most 64 of them.
func clean(code string) string {
	code = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, code)
	return code[:min(len(code), 64)]
}

// visible reports whether text is visible ASCII alone: what can stand in a header as a
// token (RFC 6750 §2.1 allows less), and what a scope is made of (RFC 6749 §3.3).
func visible(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// looseText reads a string, or a number as it is written.
type looseText string

// UnmarshalJSON never fails.
func (t *looseText) UnmarshalJSON(text []byte) error {
	var s string
	var n json.Number
	switch {
	case json.Unmarshal(text, &s) == nil:
		*t = looseText(strings.TrimSpace(s)) // some write a line's end behind it
	case json.Unmarshal(text, &n) == nil:
		*t = looseText(n)
	}
	return nil
}

// looseInt reads 3600, 3600.5, "3600", "" and null; what cannot be read is 0. The
// code that paid for this answer is burnt, so an odd lifetime must not lose it.
type looseInt int64

const tenYears = 10 * 365 * 24 * 3600

// UnmarshalJSON never fails.
func (n *looseInt) UnmarshalJSON(text []byte) error {
	n.parse(strings.Trim(string(text), "\""))
	return nil
}

func (n *looseInt) parse(text string) {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(f > 0) {
		return // missing, 0, negative, NaN: "the provider did not say"
	}
	*n = looseInt(min(f, tenYears))
}

// looseWords reads scopes as a string with spaces or commas, or as a list. What cannot
// be a scope is left out: they are shown and logged.
type looseWords []string

// UnmarshalJSON never fails.
func (w *looseWords) UnmarshalJSON(text []byte) error {
	var one string
	var many []string
	switch {
	case json.Unmarshal(text, &one) == nil:
		*w = words(one)
	case json.Unmarshal(text, &many) == nil:
		*w = words(strings.Join(many, " "))
	}
	return nil
}

func words(s string) looseWords {
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' })
	fields = slices.DeleteFunc(fields, func(f string) bool { return !visible(f) })
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// looseCode reads an error code that is a string, a number or an object with one.
type looseCode struct {
	code   string
	number string // an object's code, where its type is the better one to show
}

func (c looseCode) any() bool { return c != looseCode{} }

// UnmarshalJSON never fails, and makes something of whatever is there: an error that
// cannot be read is one all the same.
func (c *looseCode) UnmarshalJSON(text []byte) error {
	var code looseText
	var object struct {
		Code looseText `json:"code"` // Facebook's are numbers, and its types say more
		Type looseText `json:"type"`
	}
	*c = looseCode{code: unknownCode}
	switch {
	case slices.Contains([]string{"null", "false", "0", `""`, `"0"`, "{}", "[]"}, string(text)):
		*c = looseCode{}
	case text[0] == '{':
		_ = json.Unmarshal(text, &object)
		switch {
		case object.Code != "" && strings.Trim(string(object.Code), "0123456789") == "" && object.Type != "":
			*c = looseCode{string(object.Type), string(object.Code)}
		case object.Code != "" || object.Type != "":
			c.code = cmp.Or(string(object.Code), string(object.Type))
		}
	case code.UnmarshalJSON(text) == nil && code != "":
		c.code = string(code)
	}
	if c.code == "ok" || c.code == "0" {
		*c = looseCode{} // "no error", said where an error would stand
	}
	return nil
}

const unknownCode = "unknown"
