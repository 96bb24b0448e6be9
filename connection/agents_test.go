// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package connection_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/toolgate/toolgate/connection"
)

func TestTakingTheRightBackFromOneLeavesTheOthersTheirs(t *testing.T) {
	all := []string{"bot", "clerk", "guard"}
	old := connection.Connection{} // from before users were asked
	c := old.Bar("clerk", all)
	if !slices.Equal(c.Agents, []string{"bot", "guard"}) || !slices.Equal(c.Barred, []string{"clerk"}) || old.Agents != nil {
		t.Errorf("%q and %q", c.Agents, c.Barred)
	}
	last := c.Bar("bot", all).Bar("guard", all)
	if last.Agents == nil || len(last.Agents) != 0 || last.Admits("bot", true) || last.Admits("new", true) {
		t.Errorf("when nobody is left: %#v", last.Agents)
	}
	if c := old.Bar("bot", nil); c.Agents == nil || c.Admits("clerk", true) {
		t.Errorf("where the tenant has no other: %#v", c.Agents)
	}
	back := last.Admit("clerk")
	if !slices.Equal(back.Agents, []string{"clerk"}) || slices.Contains(back.Barred, "clerk") || !back.Admits("clerk", true) {
		t.Errorf("given back: %q and %q", back.Agents, back.Barred)
	}
	if !slices.Equal(c.Barred, []string{"clerk"}) || !slices.Equal(c.Agents, []string{"bot", "guard"}) {
		t.Error("a copy was written to")
	}
	if all := old.Admit("bot"); all.Agents != nil {
		t.Errorf("where all may, one was named: %q", all.Agents)
	}
	if c := back.Admit(""); slices.Contains(c.Agents, "") {
		t.Error("who has no name may use it")
	}
}

func TestAnAgentIsNeverBothLetInAndKeptOut(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 20))
	names := []string{"a", "b", "c", "d"}
	for range 500 {
		var c connection.Connection
		may := map[string]bool{"a": true, "b": true, "c": true, "d": true}
		for range 12 {
			name := names[random.IntN(len(names))]
			if may[name] = random.IntN(2) == 0; may[name] {
				c = c.Admit(name)
			} else {
				c = c.Bar(name, names)
			}
			for _, n := range names {
				if c.Admits(n, true) != may[n] || slices.Contains(c.Agents, n) && slices.Contains(c.Barred, n) {
					t.Fatalf("%s: %v, with %q and %q", n, may[n], c.Agents, c.Barred)
				}
			}
		}
	}
}

func TestNamesOfAgentsAreBounded(t *testing.T) {
	c := connection.Connection{Agents: []string{}}
	for i := range 1000 {
		c = c.Admit(fmt.Sprint("in", i)).Bar(fmt.Sprint("out", i), nil)
	}
	if len(c.Agents) != 100 || len(c.Barred) != 100 || !c.Admits("in999", true) || c.Admits("out999", false) || c.Admits("in0", true) {
		t.Errorf("%d and %d", len(c.Agents), len(c.Barred))
	}
}

func TestWhoMayUseWhatStandsAgain(t *testing.T) {
	type lists struct{ agents, barred []string }
	for name, c := range map[string]struct{ before, now, want lists }{
		"it came with what goes":        {lists{[]string{"bot"}, nil}, lists{[]string{"bot", "clerk"}, nil}, lists{[]string{"bot"}, nil}},
		"it was there before":           {lists{[]string{"clerk"}, nil}, lists{[]string{"clerk"}, nil}, lists{[]string{"clerk"}, nil}},
		"it was kept out before":        {lists{[]string{"bot"}, []string{"clerk"}}, lists{[]string{"bot", "clerk"}, nil}, lists{[]string{"bot"}, []string{"clerk"}}},
		"it is kept out by now":         {lists{[]string{"clerk"}, nil}, lists{[]string{}, []string{"clerk"}}, lists{[]string{}, []string{"clerk"}}},
		"another is kept out by now":    {lists{[]string{"bot"}, nil}, lists{[]string{"clerk"}, []string{"bot"}}, lists{[]string{}, []string{"bot"}}},
		"all might, and it not":         {lists{nil, []string{"clerk"}}, lists{nil, nil}, lists{nil, []string{"clerk"}}},
		"all might, and one is out":     {lists{nil, nil}, lists{[]string{"clerk"}, []string{"bot"}}, lists{[]string{"clerk"}, []string{"bot"}}},
		"nobody might, and it came":     {lists{[]string{}, nil}, lists{[]string{"clerk"}, nil}, lists{[]string{}, nil}},
		"all might, as they always did": {lists{nil, nil}, lists{nil, nil}, lists{nil, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			before := connection.Connection{ID: "before", Agents: c.before.agents, Barred: c.before.barred}
			got := before.DecidedAs(connection.Connection{Agents: c.now.agents, Barred: c.now.barred}, "clerk")
			if got.ID != "before" || !slices.Equal(got.Agents, c.want.agents) || !slices.Equal(got.Barred, c.want.barred) || (got.Agents == nil) != (c.want.agents == nil) {
				t.Errorf("%#v and %q, want %#v", got.Agents, got.Barred, c.want)
			}
		})
	}
}
