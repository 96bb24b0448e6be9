// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

//go:build tools

package oidc

import _ "github.com/zitadel/oidc/v3/example/server" // the tests build and run it
