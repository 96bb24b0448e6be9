// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/toolgate/toolgate/gateway"
	"github.com/toolgate/toolgate/problem"
)

// Concurrency is how many calls may be under way at once, from their sending to the end of
// their answers.
type Concurrency struct {
	By    By
	Calls int
	// Queue is how many more may wait, each for Wait at most.
	Queue int
	Wait  time.Duration
}

// String is the cap as it is written.
func (c Concurrency) String() string {
	return "concurrency " + c.By.String() + " " + strconv.Itoa(c.Calls)
}

func (c Concurrency) check() error {
	switch {
	case c.By == 0:
		return errors.New("concurrency is for each agent, user, toolkit or connection")
	case c.Calls < 1 || c.Calls > maxCount || c.Queue < 0 || c.Queue > maxCount:
		return fmt.Errorf("%s: 1 to %d calls, please", c, maxCount)
	case c.Queue > 0 && (c.Wait <= 0 || c.Wait > time.Minute):
		return fmt.Errorf("%s: a wait of up to a minute, please", c)
	}
	return nil
}

// CheckConcurrency tells what is wrong with caps that stand in one place.
func CheckConcurrency(caps []Concurrency) error {
	for i, c := range caps {
		if err := c.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(caps[:i], func(o Concurrency) bool { return o.By == c.By }) {
			return fmt.Errorf("concurrency %s is given twice", c.By)
		}
	}
	return nil
}

// slotKey is whom a cap is for.
type slotKey struct {
	toolkit string
	by      By
	key
}

// slots are the calls under way, where they are counted. What has none is not kept.
type slots struct {
	mu  sync.Mutex
	all map[slotKey]*slot
	// taken is closed: it is for places that are there at once.
	taken chan struct{}
}

func newSlots() *slots {
	s := &slots{all: map[slotKey]*slot{}, taken: make(chan struct{})}
	close(s.taken)
	return s
}

type slot struct {
	busy    int
	calls   int             // the cap, as the latest call has it
	waiting []chan struct{} // closed for who gets a place; first come, first served
}

// take gets a place, or waits in the queue for one. It is not ok where there is none.
func (s *slots) take(ctx context.Context, at slotKey, c Concurrency) (ok bool, err error) {
	place := s.queue(at, c)
	if place == nil || place == s.taken {
		return place != nil, nil
	}
	timer := time.NewTimer(c.Wait)
	defer timer.Stop()
	select {
	case <-place:
		return true, nil
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return !s.leaveQueue(at, place, err != nil) && err == nil, err
}

// queue gives a channel that is closed when the place is there; nil: the queue is full.
func (s *slots) queue(at slotKey, c Concurrency) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[at]
	if one == nil {
		one = new(slot)
		s.all[slotKey{at.toolkit, at.by, at.clone()}] = one
	}
	one.calls = c.Calls
	one.grant()
	switch {
	case one.busy < c.Calls && len(one.waiting) == 0:
		one.busy++
		return s.taken
	case len(one.waiting) >= c.Queue:
		return nil
	}
	place := make(chan struct{})
	one.waiting = append(one.waiting, place)
	return place
}

// leaveQueue reports whether the place had not come yet. One that came in that moment is
// given back where nobody wants it.
func (s *slots) leaveQueue(at slotKey, place chan struct{}, gone bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[at]
	if i := slices.Index(one.waiting, place); i >= 0 {
		one.waiting = slices.Delete(one.waiting, i, i+1)
		return true
	}
	if gone {
		s.freeLocked(at, one)
	}
	return false
}

// free gives a place back.
func (s *slots) free(at slotKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freeLocked(at, s.all[at])
}

func (s *slots) freeLocked(at slotKey, one *slot) {
	one.busy--
	if one.grant(); one.busy == 0 {
		delete(s.all, at)
	}
}

// grant gives places to who waits, as far as there are any.
func (one *slot) grant() {
	for one.busy < one.calls && len(one.waiting) > 0 {
		close(one.waiting[0])
		one.waiting = one.waiting[1:]
		one.busy++
	}
}

// takePlaces gets a place under each cap.
func (v *visit) takePlaces(ctx context.Context) error {
	for _, c := range v.desk.concurrency {
		at := slotKey{v.desk.ID, c.By, Limit{By: c.By}.key(v.call)}
		ok, err := v.policy.state.slots.take(ctx, at, c)
		if err != nil {
			return err
		}
		if !ok {
			return tooManyAtOnce(v.call, c)
		}
		v.places = append(v.places, at)
	}
	return nil
}

func (v *visit) freePlaces() {
	for _, at := range v.places {
		v.policy.state.slots.free(at)
	}
	v.places = nil
}

func tooManyAtOnce(c *gateway.Call, cap Concurrency) *problem.Problem {
	p := problem.New(problem.RateLimited, cap.String(), "Too many calls to "+c.Toolkit.Name+" at once: the gateway allows "+strconv.Itoa(cap.Calls)+" under way, and the others have not ended in time. Make fewer at a time.")
	p.RetryAfter = time.Second
	return p
}
