// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// The vector was made by another implementation of the drawing in Ring's comment
// (Python's hmac and cryptography). Records in the field look like this, so it
// must open for ever.
const (
	vectorKey    = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	vectorID     = "57a329b7bfab14c3"
	vectorCookie = "77cb6638c35589dc689b9dfe85162d6ca19b4403fe2cd1409af2610239369953"
	vectorPlain  = "gho_not_a_real_token"
	vectorSealed = "0157a329b7bfab14c36465666768696a6b6c6d6e6f5d59fb0af68febb25e42d8424e2225cdc98bb9588ed0411c2fb2f5b4a98b9ed8a5821511"
)

func vectorPlace() string { return Place("conn", "acme", "ada", "github") }

func TestVectorOpens(t *testing.T) {
	ring := mustParse(t, vectorKey)
	plain, err := ring.Open(unhex(t, vectorSealed), vectorPlace())
	if err != nil || string(plain) != vectorPlain {
		t.Fatalf("Open = %q, %v", plain, err)
	}
	if ring.PrimaryID() != vectorID {
		t.Errorf("the id is %s", ring.PrimaryID())
	}
	if got := hex.EncodeToString(ring.Derive("cookie")); got != vectorCookie {
		t.Errorf("Derive = %s", got)
	}
}

func TestWhatWasSealedOpens(t *testing.T) {
	ring := mustParse(t, NewKey())
	for _, plain := range [][]byte{nil, {0}, []byte("token"), make([]byte, 1<<20)} {
		for _, place := range []string{"", "a", vectorPlace()} {
			sealed := ring.Seal(plain, place)
			if got, err := ring.Open(sealed, place); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: Open = %d bytes, %v", len(plain), len(got), err)
			}
			if len(sealed) != overhead+len(plain) {
				t.Errorf("%d bytes sealed are %d", len(plain), len(sealed))
			}
		}
	}
}

func TestSealingTwiceLooksDifferent(t *testing.T) {
	ring := mustParse(t, NewKey())
	if bytes.Equal(ring.Seal([]byte("token"), "p"), ring.Seal([]byte("token"), "p")) {
		t.Fatal("the same bytes twice: a nonce was used again")
	}
}

func TestRecordDoesNotOpenInAnotherPlace(t *testing.T) {
	ring := mustParse(t, NewKey())
	sealed := ring.Seal([]byte("ada's token"), Place("acme", "ada", "github"))
	for _, place := range []string{
		"", Place("acme", "bob", "github"), Place("acme", "ada"), Place("acme", "ada", "github", ""), Place("acmeada", "", "github"), Place("acm", "eada", "github"),
	} {
		if _, err := ring.Open(sealed, place); !errors.Is(err, ErrDamaged) {
			t.Errorf("in %q: %v, want ErrDamaged", place, err)
		}
	}
}

func TestTruncatedRecordIsDamaged(t *testing.T) {
	ring := mustParse(t, NewKey())
	sealed := ring.Seal([]byte("token"), "p")
	for n := range sealed {
		if _, err := ring.Open(sealed[:n], "p"); !errors.Is(err, ErrDamaged) {
			t.Errorf("the first %d bytes: %v, want ErrDamaged", n, err)
		}
	}
	if _, err := ring.Open(append(sealed, 0), "p"); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte more: %v, want ErrDamaged", err)
	}
}

func TestNoFlippedBitGoesUnseen(t *testing.T) {
	ring := mustParse(t, NewKey())
	sealed := ring.Seal([]byte("token"), "p")
	for bit := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[bit/8] ^= 1 << (bit % 8)
		_, err := ring.Open(changed, "p")
		var later *VersionError
		var missing *KeyMissingError
		switch at := bit / 8; {
		case at == 0 && errors.As(err, &later), at == 0 && errors.Is(err, ErrDamaged):
		case at > 0 && at < headerSize && errors.As(err, &missing):
		case at >= headerSize && errors.Is(err, ErrDamaged):
		default:
			t.Errorf("bit %d: %v", bit, err)
		}
	}
}

// A swapped key id must not help, even where the ring holds both keys.
func TestRecordDoesNotOpenUnderAnotherKeysID(t *testing.T) {
	ring := mustParse(t, NewKey()+"\n"+NewKey())
	sealed := ring.Seal([]byte("token"), "p")
	copy(sealed[1:], ring.keys[1].id[:])
	if _, err := ring.Open(sealed, "p"); !errors.Is(err, ErrDamaged) {
		t.Fatalf("%v, want ErrDamaged", err)
	}
}

func TestOldKeyOpensAndNewKeySeals(t *testing.T) {
	oldKey, newKey := NewKey(), NewKey()
	before := mustParse(t, oldKey)
	after := mustParse(t, newKey+"\n"+oldKey)
	sealed := before.Seal([]byte("token"), "p")
	if plain, err := after.Open(sealed, "p"); err != nil || string(plain) != "token" {
		t.Fatalf("the old key does not open: %v", err)
	}
	again := after.Seal([]byte("token"), "p")
	if id, err := SealedBy(again); err != nil || id != after.PrimaryID() || id == before.PrimaryID() {
		t.Errorf("sealed by %s, %v; the primary key is %s", id, err, after.PrimaryID())
	}
	if want := []string{after.PrimaryID(), before.PrimaryID()}; !slices.Equal(after.IDs(), want) {
		t.Errorf("IDs = %v, want %v", after.IDs(), want)
	}
	_, err := before.Open(again, "p")
	var missing *KeyMissingError
	if !errors.As(err, &missing) || missing.ID != after.PrimaryID() {
		t.Errorf("without the new key: %v, want its id", err)
	}
}

func TestRecordOfALaterVersionIsNamed(t *testing.T) {
	ring := mustParse(t, NewKey())
	_, err := ring.Open([]byte{2}, "p")
	var later *VersionError
	if !errors.As(err, &later) || later.Version != 2 {
		t.Fatalf("%v, want a VersionError", err)
	}
}

func TestDerivedKeysAreApart(t *testing.T) {
	first, second := NewKey(), NewKey()
	ring := mustParse(t, first+"\n"+second)
	seen := make(map[string]bool)
	for _, purpose := range []string{"", "cookie", "csrf", "cookie/"} {
		all := ring.DeriveAll(purpose)
		if len(all) != 2 || !bytes.Equal(all[0], ring.Derive(purpose)) || !bytes.Equal(all[1], mustParse(t, second).Derive(purpose)) {
			t.Errorf("%q: not the primary's and then the old key's", purpose)
		}
		for _, k := range all {
			if seen[string(k)] || len(k) != 32 {
				t.Errorf("%q: %d bytes, seen before: %v", purpose, len(k), seen[string(k)])
			}
			seen[string(k)] = true
		}
	}
}

func TestRingCannotBePrinted(t *testing.T) {
	ring := mustParse(t, vectorKey)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "ring", ring, "value", *ring, "in", struct{ R *Ring }{ring})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "ring", ring, "value", *ring, "in", struct{ R *Ring }{ring})
	shown := []string{log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{ring, *ring, struct{ r *Ring }{ring}, struct{ r Ring }{*ring}, []*Ring{ring}, map[string]any{"r": ring}} {
			shown = append(shown, fmt.Sprintf(verb, value))
		}
	}
	for _, value := range []any{ring, *ring, map[string]*Ring{"r": ring}} {
		b, err := json.Marshal(value)
		if err != nil || !strings.Contains(string(b), mask) {
			t.Errorf("JSON: %s, %v", b, err)
		}
	}
	secret := unhex(t, vectorKey)
	for _, s := range shown {
		// The first bytes of the key, as each way of printing would show them.
		for _, leak := range []string{string(secret[:8]), vectorKey[:12], "0 1 2 3 4 5", "0x0, 0x1, 0x2", "AAECAwQF"} {
			if strings.Contains(s, leak) {
				t.Errorf("it shows the key: %q", s)
			}
		}
	}
}

// Only what Seal made opens. The seed is the vector and not a fresh seal: fuzz
// workers are other processes, which would not know it.
func FuzzOpen(f *testing.F) {
	ring, err := ParseRing(vectorKey)
	if err != nil {
		f.Fatal(err)
	}
	vector, err := hex.DecodeString(vectorSealed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(vector, vectorPlace())
	f.Add(vector[:headerSize], "")
	f.Add([]byte{2}, "later")
	f.Fuzz(func(t *testing.T, sealed []byte, place string) {
		plain, err := ring.Open(sealed, place)
		if err == nil && (!bytes.Equal(sealed, vector) || place != vectorPlace()) {
			t.Fatalf("%x opens in %q, to %q", sealed, place, plain)
		}
		var later *VersionError
		var missing *KeyMissingError
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.As(err, &later) && !errors.As(err, &missing) {
			t.Fatalf("an error without a name: %v", err)
		}
	})
}

func mustParse(t *testing.T, text string) *Ring {
	t.Helper()
	ring, err := ParseRing(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
