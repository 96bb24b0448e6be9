// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// pieces is a reader that gives a text in pieces of given lengths, the last one
// again and again.
type pieces struct {
	text    []byte
	lengths []byte
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := 1
	if len(p.lengths) > 0 {
		n = int(p.lengths[0])
		if len(p.lengths) > 1 {
			p.lengths = p.lengths[1:]
		}
	}
	n = copy(b, p.text[:min(n, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

func FuzzMaskIsReplaceAll(f *testing.F) {
	f.Add("a token here and a token there", "token", []byte{3})
	f.Add("aaab aab aaaab", "aab", []byte{1})
	f.Add("abababab", "abab", []byte{3, 3})
	f.Add("*a*a*a*a*", "*a*a", []byte{4, 1, 0, 2})
	f.Add("tok", "token", []byte{255})
	f.Fuzz(func(t *testing.T, text, secret string, lengths []byte) {
		if secret == "" || len(secret) > 64 || len(text) > 1<<10 || bytes.Count(lengths, []byte{0}) == len(lengths) && len(lengths) > 0 {
			return // pieces of nothing would never end
		}
		if len(lengths) > 0 && lengths[len(lengths)-1] == 0 {
			return
		}
		want := strings.ReplaceAll(text, secret, strings.Repeat("*", len(secret)))
		for _, source := range []io.Reader{
			&pieces{text: []byte(text), lengths: lengths},
			iotest.DataErrReader(&pieces{text: []byte(text), lengths: lengths}),
		} {
			m := &masker{from: source, secret: []byte(secret)}
			got, err := io.ReadAll(iotest.OneByteReader(m))
			if err != nil || string(got) != want {
				t.Fatalf("%q without %q became %q, want %q (%v)", text, secret, got, want, err)
			}
		}
	})
}

func TestTheMaskHoldsBackOnlyWhatMayBeASecret(t *testing.T) {
	source, feed := io.Pipe()
	m := mask(source, http.Header{}, []string{"secret-token"})
	got := make([]byte, 64)
	for _, event := range []string{"data: 1\n\n", "data: s\n\n", "data: secret\n\n"} {
		go func() { _, _ = io.WriteString(feed, event) }()
		n, err := m.Read(got)
		if err != nil || string(got[:n]) != event {
			t.Fatalf("of %q came %q, %v", event, got[:n], err)
		}
	}
}

func TestTheMaskPassesErrorsOnBehindTheBytes(t *testing.T) {
	broken := errors.New("broken")
	m := mask(io.MultiReader(strings.NewReader("a secret-tok"), iotest.ErrReader(broken)), http.Header{}, []string{"secret-token"})
	got, err := io.ReadAll(m)
	if string(got) != "a secret-tok" || err != broken {
		t.Errorf("came %q, %v", got, err)
	}
}

func TestWhatIsNotLookedInto(t *testing.T) {
	for name, c := range map[string]struct {
		header http.Header
		secret string
		want   bool
	}{
		"plain":      {http.Header{}, "secret-token", true},
		"identity":   {http.Header{"Content-Encoding": {"identity"}}, "secret-token", true},
		"compressed": {http.Header{"Content-Encoding": {"br"}}, "secret-token", false},
		"gRPC":       {http.Header{"Content-Type": {"application/grpc+proto"}}, "secret-token", false},
		"too short":  {http.Header{}, "secret", false},
	} {
		text := "x" + c.secret + "x"
		got, _ := io.ReadAll(mask(strings.NewReader(text), c.header, []string{c.secret}))
		if masked := string(got) != text; masked != c.want {
			t.Errorf("%s: became %q", name, got)
		}
	}
}
