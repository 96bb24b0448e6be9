// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"net/http"
	"strconv"
)

// rowsAPage is how many connections are on one page of what a person has connected.
const rowsAPage = 50

// pageParam says in the address which page it is, from 1. Buttons are pressed at the
// address of their page, and lead back there.
const pageParam = "page"

// pageAsked is the page that an address names; the first one where it names none.
func pageAsked(r *http.Request) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(pageParam)); err == nil && n > 1 {
		return n
	}
	return 1
}

// inPages leaves the rows of the page that is asked for, the last one where there are not
// so many: what stood there may have been disconnected.
func (s *Service) inPages(v visit, data *view) {
	pages := (len(data.Rows) + rowsAPage - 1) / rowsAPage
	if pages < 2 {
		return
	}
	n := min(pageAsked(v.r), pages)
	data.Rows = data.Rows[(n-1)*rowsAPage : min(n*rowsAPage, len(data.Rows))]
	data.PageOf = s.say(v, "Page %s of %s", strconv.Itoa(n), strconv.Itoa(pages))
	if n > 1 {
		data.Earlier = s.minePageURL(n-1, "")
	}
	if n < pages {
		data.Later = s.minePageURL(n+1, "")
	}
}

// minePageURL is mineURL for a certain page.
func (s *Service) minePageURL(page int, outcome undoing) string {
	u := s.cfg.PublicURL.JoinPath(minePath)
	query := u.Query()
	if outcome != "" {
		query.Set("done", string(outcome))
	}
	if page > 1 {
		query.Set(pageParam, strconv.Itoa(page))
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// backToMine leads back to where a button was pressed, with a word about what it did.
func (s *Service) backToMine(v visit, outcome undoing) {
	v.redirect(s.minePageURL(pageAsked(v.r), outcome))
}
