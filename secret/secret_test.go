// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/toolgate/toolgate/secret"
)

type holder struct {
	Public  secret.String
	private secret.String
}

func TestASecretIsNeverPrinted(t *testing.T) {
	s := secret.New("hunter2")
	h := holder{Public: s, private: s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for name, value := range map[string]any{"alone": s, "in a struct": h, "behind a pointer": &h, "in a slice": []secret.String{s}} {
			if out := fmt.Sprintf(verb, value); leaks(out) {
				t.Errorf("%s %s prints %s", verb, name, out)
			}
		}
	}
}

func TestASecretIsNeverMarshalledOrLogged(t *testing.T) {
	s := secret.New("hunter2")
	out, err := json.Marshal(map[string]any{"a": s, "b": holder{Public: s, private: s}, "c": map[secret.String]int{s: 1}})
	if err != nil || leaks(string(out)) {
		t.Errorf("json: %s, %v", out, err)
	}
	var buf bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		slog.New(h).Info("x", "s", s, "h", holder{Public: s, private: s})
	}
	if leaks(buf.String()) {
		t.Errorf("slog: %s", buf.String())
	}
}

func TestRevealIsTheWayOut(t *testing.T) {
	if got := secret.New("hunter2").Reveal(); got != "hunter2" {
		t.Errorf("Reveal = %q", got)
	}
	if !secret.New("").IsZero() || secret.New("x").IsZero() {
		t.Error("IsZero is wrong")
	}
	if !secret.New("a").Equal(secret.New("a")) || secret.New("a").Equal(secret.New("b")) {
		t.Error("Equal is wrong")
	}
}

func leaks(out string) bool {
	return strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74657232")
}
