// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/toolgate/toolgate/toolkit"
)

// signLimit is the largest body that is looked into for the provider's own sign, in
// bytes as they come and as they are unpacked.
const signLimit = 16 << 10

// refused reports whether the provider's answer says that the credential is no good: by
// 401, or by the toolkit's own sign. For that, a small JSON body is read ahead, and put
// back; nothing else waits.
func (x *exchange) refused() bool {
	if x.answer.StatusCode == http.StatusUnauthorized {
		return true
	}
	_, refused := x.shows(x.toolkit.Auth.Refused)
	return refused
}

// shows reports whether the answer has the sign, and gives its body then.
func (x *exchange) shows(sign *toolkit.Sign) (body any, shown bool) {
	if sign == nil || x.answer.StatusCode != sign.Status || x.in.Method == http.MethodHead || x.answer.ContentLength > signLimit || !isJSON(x.answer.Header) {
		return nil, false
	}
	head, whole := x.readAhead()
	if !whole || json.Unmarshal(unpacked(head, x.answer.Header), &body) != nil {
		return nil, false
	}
	text, _ := field(body, sign.Field).(string)
	return body, slices.Contains(sign.Values, text)
}

// readAhead gives the beginning of the answer's body, and whether that is all of it.
func (x *exchange) readAhead() (head []byte, whole bool) {
	head, err := io.ReadAll(io.LimitReader(x.answer.Body, signLimit+1))
	x.answer.Body = &ahead{Reader: io.MultiReader(bytes.NewReader(head), rest{x.answer.Body, err}), Closer: x.answer.Body}
	return head, err == nil && len(head) <= signLimit
}

// ahead is a body of which the beginning has been read.
type ahead struct {
	io.Reader
	io.Closer
}

// rest is what comes behind that, or why nothing does.
type rest struct {
	body io.Reader
	err  error
}

func (r rest) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return r.body.Read(p)
}

func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// unpacked is a small body in plain, or nothing where it is packed in a way that we did
// not ask for.
func unpacked(body []byte, h http.Header) []byte {
	switch h.Get("Content-Encoding") {
	case "", "identity":
		return body
	case "gzip":
		from, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil
		}
		plain, err := io.ReadAll(io.LimitReader(from, signLimit))
		if err != nil {
			return nil
		}
		return plain
	}
	return nil
}

// field is what stands in a JSON object; nil where there is none.
func field(value any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

func saysInBody(signs []toolkit.Throttle) bool {
	return slices.ContainsFunc(signs, func(s toolkit.Throttle) bool { return s.Body != "" })
}

// readable keeps the provider from packing its answer in a way that we cannot look into.
func (x *exchange) readable(h http.Header) {
	if h["Accept-Encoding"] == nil || x.toolkit.Auth.Refused == nil && x.toolkit.Auth.ScopeMissing == nil && !saysInBody(x.toolkit.Throttling.Signs) {
		return
	}
	for _, value := range h["Accept-Encoding"] {
		for coding := range strings.SplitSeq(value, ",") {
			if name, quality, _ := strings.Cut(coding, ";"); strings.EqualFold(strings.TrimSpace(name), "gzip") && strings.ReplaceAll(quality, " ", "") != "q=0" {
				h["Accept-Encoding"] = []string{"gzip"}
				return
			}
		}
	}
	h["Accept-Encoding"] = []string{"identity"}
}
