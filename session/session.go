// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// Package session makes and reads session tokens: what an operator's app hands to an
// agent's process, so that any SDK works for one user by base URL and token alone.
//
// A token is signed and says all that there is to know, so that a call needs no store.
// What it cannot say is that it was taken back: see [Revocations].
package session

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/toolgate/toolgate/caller"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/tokencache/seal"
)

// Prefix marks session tokens, for secret scanners and to tell them from agent keys.
const Prefix = "tgs_"

const (
	// DefaultLife is how long a session lives, MaxLife how long at most: as long as
	// revocations are kept.
	DefaultLife = time.Hour
	MaxLife     = 24 * time.Hour
)

// Desk gives out tokens and reads them. It is safe for concurrent use.
type Desk struct {
	keys    []key
	revoked *Revocations
	now     func() time.Time

	mu    sync.Mutex
	known map[[sha256.Size]byte]*caller.Session
}

// key signs. Its id is in the token, so that one of another gateway is told from one
// that was changed.
type key struct {
	id     []byte
	secret []byte
}

// NewDesk makes a desk with the keys of a ring: it signs with the first.
func NewDesk(ring *seal.Ring, revoked *Revocations, now func() time.Time) *Desk {
	d := &Desk{revoked: revoked, now: now, known: map[[sha256.Size]byte]*caller.Session{}}
	ids := ring.IDs()
	for i, secret := range ring.DeriveAll("session") {
		id, _ := hex.DecodeString(ids[i])
		d.keys = append(d.keys, key{id, secret})
	}
	return d
}

// A token is Prefix and, in base64url without padding (RFC 4648 §5):
//
//	1 byte    version: 1
//	8 bytes   id of the key
//	32 bytes  HMAC-SHA256 of version, id and text
//	the rest  text: content as JSON
const (
	version = 1
	idSize  = 8
	headEnd = 1 + idSize
	textAt  = headEnd + sha256.Size
)

// maxToken is above any token: 64 toolkits and an address may take 25 KiB between them.
const maxToken = 32 << 10

type content struct {
	ID       string   `json:"i"`
	Tenant   string   `json:"t"`
	Agent    string   `json:"a"`
	User     string   `json:"u"`
	Toolkits []string `json:"k,omitempty"`
	NoLinks  bool     `json:"n,omitempty"`
	Callback string   `json:"b,omitempty"`
	Issued   int64    `json:"s"` // milliseconds
	Expires  int64    `json:"e"` // seconds
}

// Mint gives s an id and a time of issue, and makes its token. s.Expires is at most
// MaxLife away.
func (d *Desk) Mint(s caller.Session) (token string, made caller.Session) {
	s.ID = rand.Text()
	s.Issued = d.revoked.after(s.Tenant, s.User, d.now()).UTC()
	s.Expires = s.Expires.UTC().Truncate(time.Second)
	text, _ := json.Marshal(content{ // cannot fail: texts and numbers
		s.ID, s.Tenant, s.Agent, s.User, s.Toolkits, s.NoLinks, s.CallbackURL, s.Issued.UnixMilli(), s.Expires.Unix(),
	})
	head := append([]byte{version}, d.keys[0].id...)
	return Prefix + encoding.EncodeToString(bytes.Join([][]byte{head, d.keys[0].sign(head, text), text}, nil)), s
}

// encoding is strict: of two spellings of one token, one would not be found in lists.
var encoding = base64.RawURLEncoding.Strict()

func (k key) sign(head, text []byte) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write(head)
	mac.Write(text)
	return mac.Sum(nil)
}

// Open reads a token. Errors are *problem.Problem.
func (d *Desk) Open(token string) (*caller.Session, error) {
	s, err := d.read(token)
	if err != nil {
		return nil, err
	}
	if !d.now().Before(s.Expires) {
		return nil, refused(problem.SessionExpired, "expires_in", "The session has expired. The app that gave it out has to make a new one.")
	}
	if err := d.revoked.check(s); err != nil {
		return nil, err
	}
	return s, nil
}

// read checks the signature, once for each token: an agent sends the same one with
// every call.
func (d *Desk) read(token string) (*caller.Session, error) {
	sum := sha256.Sum256([]byte(token))
	d.mu.Lock()
	s := d.known[sum]
	d.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := d.verify(token)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxKnown {
		clear(d.known) // they are checked again, for a microsecond or two each
	}
	d.known[sum] = s
	return s, nil
}

// maxKnown is how many checked tokens are remembered.
const maxKnown = 8 << 10

func (d *Desk) verify(token string) (*caller.Session, error) {
	text, marked := strings.CutPrefix(token, Prefix)
	if !marked || len(text) > maxToken || strings.ContainsAny(text, "\r\n") { // which base64 skips
		return nil, damaged()
	}
	raw, err := encoding.DecodeString(text)
	if err != nil || len(raw) < textAt || raw[0] != version {
		return nil, damaged()
	}
	head, mac, body := raw[:headEnd], raw[headEnd:textAt], raw[textAt:]
	for _, k := range d.keys {
		if !bytes.Equal(k.id, head[1:]) {
			continue
		}
		var c content
		if !hmac.Equal(mac, k.sign(head, body)) || json.Unmarshal(body, &c) != nil {
			return nil, damaged()
		}
		return &caller.Session{
			ID: c.ID, Tenant: c.Tenant, Agent: c.Agent, User: c.User, Toolkits: c.Toolkits, NoLinks: c.NoLinks, CallbackURL: c.Callback,
			Issued: time.UnixMilli(c.Issued).UTC(), Expires: time.Unix(c.Expires, 0).UTC(),
		}, nil
	}
	return nil, refused(problem.SessionInvalid, "encryption_key", "The session was made by another gateway, or its key is not used any more. The app that gave it out has to make a new one.")
}

func damaged() error {
	return refused(problem.SessionInvalid, "session", "The session token is not whole: something has cut or changed it. Send it as it was given out.")
}

func refused(code problem.Code, rule, detail string) error {
	p := problem.New(code, rule, detail)
	p.Challenge = `Bearer realm="toolgate", error="invalid_token"`
	return p
}

// Revoked reports whether a session that was good has been taken back.
func (d *Desk) Revoked(s *caller.Session) bool { return d.revoked.Revoked(s) }
