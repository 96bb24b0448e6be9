// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package tokencache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolgate/toolgate/connection"
	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/problem"
	"github.com/toolgate/toolgate/secret"
)

const day = 24 * time.Hour

func TestConnectionsThatNobodyUsesAreRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const users = 250 // more than a page
		for i := range users {
			w.connect(key(fmt.Sprint("user-", i)))
		}
		other := key("elsewhere")
		other.Toolkit = "another"
		w.connect(other)
		one, two := w.gateway(), w.gateway()
		renewed := map[int]int{} // by day
		for d := range 60 {
			n, err := one.RenewUnused(t.Context(), w.toolkit, 30*day, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if more, err := two.RenewUnused(t.Context(), w.toolkit, 30*day, time.Second); more != 0 || err != nil {
				t.Fatalf("day %d: a second gateway renewed %d more, %v", d, more, err)
			}
			renewed[d] += n
			time.Sleep(day)
		}
		first, most := 0, 0
		for d := range 31 {
			first += renewed[d]
			most = max(most, renewed[d])
		}
		for d := range 24 {
			if renewed[d] != 0 {
				t.Errorf("on day %d, long before it is due, %d were renewed", d, renewed[d])
			}
		}
		if first != users || most > users/3 {
			t.Errorf("in 30 days %d of %d were renewed, %d of them on one day", first, users, most)
		}
		if calls, reuses := w.provider.count(), w.provider.reuses; calls < users+users/2 || reuses != 0 {
			t.Errorf("%d requests, %d with a spent token", calls, reuses)
		}
	})
}

func TestOnlyWhatCanBeRenewedIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for user, how := range map[string]func(*connection.Connection){
			"ended":        func(c *connection.Connection) { c.Status = connection.Expired },
			"switched-off": func(c *connection.Connection) { c.Status = connection.Inactive },
			"no-refresh":   func(c *connection.Connection) { c.RefreshToken = secret.String{} },
			"moved":        func(c *connection.Connection) { c.Granted.ClientID = "another" },
		} {
			w.connect(key(user))
			w.change(key(user), how)
		}
		w.connect(key("used"))
		time.Sleep(40 * day)
		g := w.gateway()
		w.token(g, key("used")) // which renews it
		if n, err := g.RenewUnused(t.Context(), w.toolkit, 30*day, time.Second); n != 0 || err != nil {
			t.Errorf("renewed %d, %v", n, err)
		}
	})
}

func TestAProviderThatIsAwayIsNotAskedForEveryConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 50 {
			w.connect(key(fmt.Sprint("user-", i)))
		}
		w.provider.before = func(int, string) error { return &oauth.Unavailable{Unspent: true} }
		time.Sleep(40 * day)
		n, err := w.gateway().RenewUnused(t.Context(), w.toolkit, 30*day, time.Second)
		var p *problem.Problem
		if calls := w.provider.count(); n != 0 || !errors.As(err, &p) || calls != unusedFaults {
			t.Errorf("renewed %d, %v, after %d requests", n, err, calls)
		}
	})
}

func TestUsersWhoAlwaysFailDoNotKeepTheOthersFromBeingRenewed(t *testing.T) {
	for name, failing := range map[string]int{"a handful": unusedFaults, "more than a page": unusedPage + unusedFaults} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for i := range failing {
					w.connect(key(fmt.Sprint("a-left-", i)))
				}
				const others = 10
				for i := range others {
					w.connect(key(fmt.Sprint("user-", i)))
				}
				w.provider.before = func(_ int, token string) error {
					if strings.Contains(token, "left") {
						return &oauth.Refused{Code: "user_suspended", Status: 400} // in nobody's table
					}
					return nil
				}
				g, renewed := w.gateway(), 0
				for range 60 * 4 {
					n, _ := g.RenewUnused(t.Context(), w.toolkit, 20*day, time.Second)
					renewed += n
					time.Sleep(day / 4)
				}
				if renewed < 2*others {
					t.Errorf("in 60 days there were %d renewals of %d users", renewed, others)
				}
				for i := range others {
					if age := time.Since(w.stored(key(fmt.Sprint("user-", i))).IssuedAt); age > 26*day {
						t.Errorf("user-%d was last renewed %v ago", i, age)
					}
				}
			})
		})
	}
}

func TestAStoppedPassGoesOnThereAndThenFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 5 {
			w.connect(key(fmt.Sprint("user-", i)))
		}
		time.Sleep(40 * day)
		g := w.gateway()
		var asked []string
		w.provider.before = func(_ int, token string) error {
			asked = append(asked, strings.TrimPrefix(token, "acme.")[:len("user-0")])
			return nil
		}
		for range 3 { // two each time
			ctx, stop := context.WithTimeout(t.Context(), 90*time.Second)
			_, _ = g.RenewUnused(ctx, w.toolkit, 30*day, time.Minute)
			stop()
		}
		time.Sleep(40 * day)
		if _, err := g.RenewUnused(t.Context(), w.toolkit, 30*day, time.Second); err != nil {
			t.Fatal(err)
		}
		if want := []string{"user-0", "user-1", "user-2", "user-3", "user-4", "user-0", "user-1", "user-2", "user-3", "user-4"}; !slices.Equal(asked, want) {
			t.Errorf("asked for %v", asked)
		}
	})
}

func TestTheStoppedPassStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 5 {
			w.connect(key(fmt.Sprint("user-", i)))
		}
		time.Sleep(40 * day)
		ctx, stop := context.WithTimeout(t.Context(), 90*time.Second)
		defer stop()
		if n, err := w.gateway().RenewUnused(ctx, w.toolkit, 30*day, time.Minute); n != 2 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("renewed %d, %v", n, err)
		}
	})
}
