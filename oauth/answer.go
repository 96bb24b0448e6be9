// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
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
	ExpiresIn    looseInt   `json:"expires_in"`
	Scope        looseWords `json:"scope"`
	Error        looseCode  `json:"error"`
	// Status is where HubSpot puts its code.
	Status looseText `json:"status"`
	// User is Slack's user token, Data where TikTok puts everything.
	User *answer `json:"authed_user"`
	Data *answer `json:"data"`
}

// parseAnswer reads JSON or, failing that, a form. What cannot be read is empty.
func parseAnswer(text []byte) answer {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	if bytes.HasPrefix(text, []byte("{")) {
		return parseJSON(text)
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return answer{}
	}
	a := answer{AccessToken: looseText(form.Get("access_token")), RefreshToken: looseText(form.Get("refresh_token"))}
	a.ExpiresIn.parse(form.Get("expires_in"))
	a.Scope = words(form.Get("scope"))
	a.Error = looseCode(form.Get("error"))
	return a
}

func parseJSON(text []byte) answer {
	var a answer
	err := json.Unmarshal(text, &a)
	// A field of the wrong type is left out; the rest has been read.
	if _, odd := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !odd {
		return answer{}
	}
	if a.AccessToken != "" {
		return a
	}
	for _, inner := range []*answer{a.User, a.Data} {
		if inner != nil && a.Error == "" && (inner.AccessToken != "" || inner.Error != "") {
			return *inner
		}
	}
	// Other providers write anything into status, so it counts only if known.
	if a.Error == "" && grantRefused[string(a.Status)] {
		a.Error = looseCode(a.Status)
	}
	return a
}

func (a answer) grant(now time.Time) Grant {
	// Wall time: the monotonic clock stands still while a laptop sleeps, and a
	// token that ended meanwhile would look good.
	now = now.Round(0).UTC()
	g := Grant{
		AccessToken: secret.New(string(a.AccessToken)), RefreshToken: secret.New(string(a.RefreshToken)),
		IssuedAt: now, Scopes: a.Scope,
	}
	if a.ExpiresIn > 0 {
		g.ExpiresAt = now.Add(time.Duration(a.ExpiresIn) * time.Second)
	}
	return g
}

// errorCode is the provider's code, reduced to what is safe in a log.
func (a answer) errorCode() string {
	code := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, string(a.Error))
	if code == "" && a.Error != "" {
		return unknownCode
	}
	return code[:min(len(code), 64)]
}

// looseText reads a string, or a number as it is written.
type looseText string

// UnmarshalJSON never fails.
func (t *looseText) UnmarshalJSON(text []byte) error {
	var s string
	var n json.Number
	switch {
	case json.Unmarshal(text, &s) == nil:
		*t = looseText(s)
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

// looseWords reads scopes as a string with spaces or commas, or as a list.
type looseWords []string

// UnmarshalJSON never fails.
func (w *looseWords) UnmarshalJSON(text []byte) error {
	var one string
	var many []string
	switch {
	case json.Unmarshal(text, &one) == nil:
		*w = words(one)
	case json.Unmarshal(text, &many) == nil:
		*w = many
	}
	return nil
}

func words(s string) looseWords {
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' })
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// looseCode reads an error code that is a string or an object with one.
type looseCode string

// UnmarshalJSON never fails, and makes something of whatever is there: an error that
// cannot be read is one all the same.
func (c *looseCode) UnmarshalJSON(text []byte) error {
	var code string
	var object struct {
		Code any    `json:"code"` // Facebook's are numbers, and its types say more
		Type string `json:"type"`
	}
	switch {
	case string(text) == "null" || string(text) == "false" || string(text) == "0":
	case json.Unmarshal(text, &code) == nil:
		*c = looseCode(code)
	case json.Unmarshal(text, &object) == nil:
		code, _ = object.Code.(string)
		*c = looseCode(cmp.Or(code, object.Type, unknownCode))
	default:
		*c = unknownCode
	}
	return nil
}

const unknownCode = "unknown"
