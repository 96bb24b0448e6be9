// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"context"
	"errors"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/toolgate/toolgate/gateway"
)

func TestCertificatesAreForToolkitsHostsAlone(t *testing.T) {
	p := &Permission{app: &App{toolkits: map[string]*endpoint{"openai": {}}}, mount: gateway.Mount{Hosts: []string{"*.gw.example.com"}}}
	for name, allowed := range map[string]bool{
		"openai.gw.example.com": true, "OpenAI.GW.example.com": true,
		"github.gw.example.com": false, "gw.example.com": false, "a.openai.gw.example.com": false,
		"openai.example.com": false, "openai.gw.example.com.evil.example": false, "": false,
	} {
		err := p.CertificateAllowed(context.Background(), name)
		if (err == nil) != allowed || err != nil && !errors.Is(err, caddytls.ErrPermissionDenied) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
