// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule

import (
	"fmt"
	"io"
	"time"

	"github.com/toolgate/toolgate/custody"
)

// progress says now and then how far long work has come. What is done within a
// second needs no words.
type progress struct {
	out  io.Writer
	what string // such as "records looked at"
	next time.Time
	done int
}

func newProgress(out io.Writer, what string) *progress {
	return &progress{out: out, what: what, next: time.Now().Add(time.Second)}
}

func (p *progress) add(n int) {
	p.done += n
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(2 * time.Second)
		fmt.Fprintf(p.out, "%d %s so far …\n", p.done, p.what)
	}
}

// walk has a job done step by step over all records. each gets what a step gave, and
// tells where it ended.
func walk[T any](o *office, job string, in func(custody.Step) any, p *progress, after []byte, each func(T) (custody.Place, error)) error {
	for step := (custody.Step{After: after}); ; {
		var done T
		if err := o.ask(job, in(step), &done); err != nil {
			return err
		}
		at, err := each(done)
		if err != nil {
			return err
		}
		p.add(at.Seen)
		if at.Done {
			return nil
		}
		step.After = at.Next
	}
}

func plainStep(step custody.Step) any { return step }

// count gives "1 record" and "2 records".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
