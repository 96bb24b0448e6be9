// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package toolkit

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode"
)

// What a value may be is a pattern of the operator's, and a value ends in an address. A
// pattern that is not anchored lets anything around it in, and one that is written in a
// hurry, such as [^/]+, admits characters that mean something there. Both look right and
// work until somebody tries. So patterns are read, and not only compiled.

// readPattern compiles a pattern that is held to all of a value, and admits no more than
// letters, digits, hyphens and underscores. dots: it admits dots too, which it has to name.
func readPattern(text string) (p *regexp.Regexp, dots bool, err error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, false, fmt.Errorf("pattern %q is no regular expression", text)
	}
	if !anchored(tree) {
		return nil, false, fmt.Errorf("pattern %q has to begin with ^ and end with $, around all of it: ^(one|other)$", text)
	}
	w := walker{}
	w.walk(tree)
	if w.err != nil {
		return nil, false, fmt.Errorf("pattern %q: %w", text, w.err)
	}
	p, err = regexp.Compile(text)
	return p, w.dots, err
}

// anchored reports whether nothing can stand before or behind what the pattern says. A ^
// in one branch of an alternative alone, or the start of a line, is no such thing.
func anchored(tree *syntax.Regexp) bool {
	return tree.Op == syntax.OpConcat && tree.Sub[0].Op == syntax.OpBeginText && tree.Sub[len(tree.Sub)-1].Op == syntax.OpEndText
}

// walker finds every character that a pattern admits.
type walker struct {
	dots bool
	err  error
}

var (
	errAdmitsNothing = errors.New("it admits nothing")
	errAnyCharacter  = errors.New(`a . admits every character; a dot is \. and what a value may be is listed, such as [a-z0-9-]`)
)

func (w *walker) walk(tree *syntax.Regexp) {
	if w.err != nil {
		return
	}
	switch tree.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		w.err = errAnyCharacter
	case syntax.OpNoMatch:
		w.err = errAdmitsNothing
	case syntax.OpLiteral:
		for _, r := range tree.Rune {
			w.admit(r, r)
			if tree.Flags&syntax.FoldCase != 0 { // k is the Kelvin sign then, too
				for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
					w.admit(other, other)
				}
			}
		}
	case syntax.OpCharClass: // pairs; what (?i) adds stands in there
		if len(tree.Rune) == 0 { // [^\x00-\x{10FFFF}]
			w.err = errAdmitsNothing
			return
		}
		if last := tree.Rune[len(tree.Rune)-1]; last > unicode.MaxASCII { // what is wrong most often
			w.admit(last, last)
		}
		for i := 0; i+1 < len(tree.Rune); i += 2 {
			w.admit(tree.Rune[i], tree.Rune[i+1])
		}
	}
	for _, sub := range tree.Sub {
		w.walk(sub)
	}
}

func (w *walker) admit(from, to rune) {
	if w.err == nil && to > unicode.MaxASCII {
		w.err = errors.New("it admits letters that are not a to z; leave out (?i) and [^…], values are in lower case where that counts")
	}
	for r := from; w.err == nil && r <= to; r++ {
		switch {
		case r == '.':
			w.dots = true
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		default:
			w.err = fmt.Errorf("it admits %q, which means something in an address, or is none of a name", r)
		}
	}
}
