// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func TestEveryWayToWriteAKeyIsTheSameKey(t *testing.T) {
	raw := unhex(t, strings.Repeat("fbefbe00", 8)) // "++++" or "----" in base64
	for _, line := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		"  " + hex.EncodeToString(raw) + "\t# since March\r\n", "\ufeff# a comment\n\n" + hex.EncodeToString(raw),
	} {
		ring, err := ParseRing(line)
		if err != nil || string(ring.keys[0].root[:]) != string(raw) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestBadKeysAreRefusedByTheirLine(t *testing.T) {
	good := vectorKey
	for _, test := range []struct{ text, want, why string }{
		{"", "there is none", "nothing"},
		{"# only a comment\n\n", "there is none", "no key"},
		{good + "\n\nswordfish!", "line 3: neither base64 nor hex", "a password"},
		{"# old\n" + good[:32], "line 2: 24 bytes", "half a key, which is base64 too"},
		{base64.StdEncoding.EncodeToString([]byte("sixteen bytes, 1")), "line 1: 16 bytes", "a short key"},
		{good + good, "line 1: 96 bytes", "two keys on a line"},
		{strings.Repeat("00", 32), "line 1: all bytes are the same", "zeros"},
		{strings.Repeat("ab", 32), "line 1: all bytes are the same", "a pattern"},
		{good + "\n" + NewKey() + "\n" + strings.ToUpper(good), "line 3: the key of line 1 again", "a key twice, written in two ways"},
	} {
		_, err := ParseRing(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.why, err, test.want)
			continue
		}
		for line := range strings.Lines(test.text) {
			if line = strings.TrimSpace(line); line != "" && strings.Contains(err.Error(), line) {
				t.Errorf("%s: the error quotes the text: %v", test.why, err)
			}
		}
	}
}

func TestNewKeysAreGoodAndNeverAlike(t *testing.T) {
	a, b := NewKey(), NewKey()
	ring := mustParse(t, a+"\n"+b)
	if len(ring.keys) != 2 || strings.ContainsAny(a+b, "\r\n") {
		t.Fatalf("%d keys", len(ring.keys))
	}
}

func FuzzParseRing(f *testing.F) {
	f.Add(vectorKey + "\n# old\n" + strings.Repeat("ab", 31) + "cd")
	f.Add("\ufeff" + base64.StdEncoding.EncodeToString([]byte(vectorKey[:32])))
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := ParseRing(text)
		if err != nil {
			return
		}
		if plain, err := ring.Open(ring.Seal([]byte("token"), "p"), "p"); err != nil || string(plain) != "token" {
			t.Fatalf("a ring that does not work: %v", err)
		}
	})
}
