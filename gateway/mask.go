// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// minSecret is the shortest secret that is looked for in answers, in bytes: a
// shorter one would be found where it is not meant.
const minSecret = 8

// masked hides the credential where a header echoes it.
func masked(values, secrets []string) []string {
	for _, secret := range secrets {
		for i, v := range values {
			if len(secret) >= minSecret && strings.Contains(v, secret) {
				clean := append([]string(nil), values...)
				clean[i] = strings.ReplaceAll(v, secret, strings.Repeat("*", len(secret)))
				values = clean
			}
		}
	}
	return values
}

// mask hides the credential where a body echoes it, as debugging endpoints do. The
// mask is as long as the secret, so Content-Length stays true. Compressed bodies
// are passed on: what echoes a header does not compress it for us in practice, and
// unpacking every answer would. gRPC is passed on too: the masker holds back what
// may be the beginning of a secret, and a message that ends in such a byte would
// wait for the next one, which may be an answer to it.
func mask(body io.Reader, h http.Header, secrets []string) io.Reader {
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return body
	}
	if strings.HasPrefix(h.Get("Content-Type"), "application/grpc") {
		return body
	}
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			body = &masker{from: body, secret: []byte(secret)}
		}
	}
	return body
}

// masker replaces one secret in a stream. It holds back bytes only while they may
// be the beginning of the secret.
type masker struct {
	from   io.Reader
	secret []byte
	held   []byte // the beginning of the secret, seen at the end of the last piece
	ready  []byte // to be given out
	err    error
}

// Read implements io.Reader.
func (m *masker) Read(p []byte) (int, error) {
	for len(m.ready) == 0 && len(p) > 0 {
		if m.err != nil {
			return 0, m.err
		}
		if len(m.held) == 0 {
			if n, done := m.direct(p); done {
				return n, nil
			}
			continue
		}
		m.joined(p)
	}
	n := copy(p, m.ready)
	m.ready = m.ready[n:]
	return n, nil
}

// direct is the common case: nothing held, so that the bytes can be checked where
// they are.
func (m *masker) direct(p []byte) (n int, done bool) {
	n, m.err = m.from.Read(p)
	keep := m.hide(p[:n])
	m.held = append(m.held[:0], p[n-keep:n]...)
	n -= keep
	return n, n > 0
}

// joined reads on behind what is held.
func (m *masker) joined(p []byte) {
	n, err := m.from.Read(p)
	m.err = err
	piece := append(append([]byte(nil), m.held...), p[:n]...)
	keep := m.hide(piece)
	m.held = append(m.held[:0], piece[len(piece)-keep:]...)
	m.ready = piece[:len(piece)-keep]
}

// hide masks p and tells how many bytes at its end are to be kept back, because
// they may be the beginning of a secret. A mask is never a beginning, whatever the
// secret looks like.
func (m *masker) hide(p []byte) (keep int) {
	for {
		i := bytes.Index(p, m.secret)
		if i < 0 {
			break
		}
		for j := range m.secret {
			p[i+j] = '*'
		}
		p = p[i+len(m.secret):]
	}
	if m.err != nil {
		return 0
	}
	return m.tail(p)
}

// tail is how many bytes at the end of p are a beginning of the secret.
func (m *masker) tail(p []byte) int {
	for n := min(len(m.secret)-1, len(p)); n > 0; n-- {
		if p[len(p)-n] == m.secret[0] && bytes.HasPrefix(m.secret, p[len(p)-n:]) {
			return n
		}
	}
	return 0
}
