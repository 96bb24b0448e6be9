// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"fmt"
	"io"
	"log/slog"
)

const mask = "[encryption keys]"

// Format masks the ring for every verb of package fmt.
func (Ring) Format(f fmt.State, _ rune) { io.WriteString(f, mask) }

// MarshalJSON masks the ring.
func (Ring) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// LogValue masks the ring in package log/slog.
func (Ring) LogValue() slog.Value { return slog.StringValue(mask) }
