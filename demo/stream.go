// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	maxTicks = 1000
	maxEvery = 10 * time.Second
	maxBlob  = 4 << 30 // bytes
)

// ticks streams server-sent events, each sent off at once: the first right
// away, the others one pause apart.
func (p *Provider) ticks(w http.ResponseWriter, r *http.Request, _ person) {
	n, errN := strconv.Atoi(cmp.Or(r.URL.Query().Get("n"), "5"))
	every, errEvery := time.ParseDuration(cmp.Or(r.URL.Query().Get("every"), "1s"))
	if errN != nil || errEvery != nil || n < 1 || n > maxTicks || every < 0 || every > maxEvery {
		writeError(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf("n is 1 to %d, every is 0s to %v", maxTicks, maxEvery))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	for i := range n {
		if i > 0 && !pause(r, every) {
			return
		}
		fmt.Fprintf(w, "id: %d\nevent: tick\ndata: {\"tick\":%d,\"of\":%d,\"time\":%q}\n\n",
			i+1, i+1, n, p.cfg.Now().UTC().Format(time.RFC3339Nano))
		if http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

// pause waits, and reports whether anybody is still listening.
func pause(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-timer.C:
		return true
	}
}

// takeBlob reads a body of any size and keeps nothing but its hash.
func (p *Provider) takeBlob(w http.ResponseWriter, r *http.Request, _ person) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body broke off")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"bytes": n, "sha256": hex.EncodeToString(sum.Sum(nil))})
}

// giveBlob streams bytes that are always the same: a shorter blob is the
// beginning of a longer one.
func (p *Provider) giveBlob(w http.ResponseWriter, r *http.Request, _ person) {
	n, err := strconv.ParseInt(cmp.Or(r.URL.Query().Get("bytes"), "1024"), 10, 64)
	if err != nil || n < 0 || n > maxBlob {
		writeError(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf("bytes is 0 to %d", int64(maxBlob)))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	if r.Method != http.MethodHead {
		io.CopyN(w, rand.NewChaCha8([32]byte{}), n)
	}
}
