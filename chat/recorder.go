// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"errors"
	"net/http"
)

// recorder takes an answer down, up to a limit. What comes behind that is refused, so that
// nobody goes on fetching it.
type recorder struct {
	header http.Header
	sent   http.Header // as it was when the status was written
	status int         // zero: nothing was written
	body   []byte
	limit  int
	full   bool
}

func newRecorder(limit int) *recorder { return &recorder{header: http.Header{}, limit: limit} }

var errFull = errors.New("the answer is longer than the model is given")

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter. A 1xx is not the answer.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status, r.sent = status, r.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	room := r.limit - len(r.body)
	if len(p) > room {
		r.body, r.full = append(r.body, p[:room]...), true
		return room, errFull
	}
	r.body = append(r.body, p...)
	return len(p), nil
}
