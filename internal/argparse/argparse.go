// Package argparse reads a command line as Python's argparse does: several words after
// one flag, values that may be left out, abbreviations, and arguments from a file. The
// command lines of clearml-agent in people's scripts rely on all of it.
//
// It knows no flag by itself and reads no file: whoever calls it hands both in.
package argparse

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Takes is how many words a flag takes.
type Takes int

// What a flag takes.
const (
	None  Takes = iota
	Count       // none, but it counts how often it is given
	One
	Maybe // one, or none
	Any   // as many as follow, or none
	Some  // as many as follow, one at least
)

// Option is one flag.
type Option struct {
	// Names with their dashes; the first is the one it goes by.
	Names []string
	Takes Takes
	// Late is for flags that the program in whose place this one stands does not have: an
	// abbreviation means one of the others first.
	Late bool
}

// Given is a flag that was given. Of one that was given twice the last word counts.
type Given struct {
	Name   string
	Values []string
	Times  int
}

// Limits of a command line that comes from a file.
const (
	maxWords = 10000
	maxDepth = 10
)

// Expand puts the lines of a file, a word each, in the place of each @FILE.
func Expand(args []string, read func(path string) (string, error)) ([]string, error) {
	out, err := expand(nil, args, read, 0)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func expand(out, args []string, read func(string) (string, error), depth int) ([]string, error) {
	if depth > maxDepth {
		return nil, errors.New("files with arguments name each other without end")
	}
	for _, arg := range args {
		path, ok := strings.CutPrefix(arg, "@")
		if !ok {
			out = append(out, arg)
		} else {
			text, err := read(path)
			if err != nil {
				return nil, fmt.Errorf("cannot read arguments from a file: %w", err)
			}
			if out, err = expand(out, lines(text), read, depth+1); err != nil {
				return nil, err
			}
		}
		if len(out) > maxWords {
			return nil, fmt.Errorf("there are more than %d arguments", maxWords)
		}
	}
	return out, nil
}

func lines(text string) []string {
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// Parse reads flags. Words that belong to none are refused, and not repeated: one may
// be a part of a secret.
func Parse(options []Option, args []string) ([]Given, error) {
	p := parser{options: options, given: map[string]int{}}
	for len(args) > 0 {
		if args[0] == "--" { // all that follows are words, and no flag takes words from there
			p.loose += len(args) - 1
			break
		}
		var err error
		if args, err = p.next(args); err != nil {
			return nil, err
		}
	}
	return p.out, p.leftover()
}

type parser struct {
	options []Option
	out     []Given
	given   map[string]int // name → its place in out
	unknown []string
	loose   int
}

// next reads one flag with its words, and returns what follows.
func (p *parser) next(args []string) ([]string, error) {
	word := args[0]
	args = args[1:]
	if !p.dashed(word) {
		p.loose++
		return args, nil
	}
	name, value, has := strings.Cut(word, "=")
	option, err := p.find(word, name)
	switch {
	case err != nil:
		return nil, err
	case option == nil && !strings.HasPrefix(word, "--") && p.cluster(word):
		return args, nil
	case option == nil:
		p.unknown = append(p.unknown, name)
		return args, nil
	}
	if has {
		if option.Takes == None || option.Takes == Count {
			return nil, fmt.Errorf("%s takes no value", option.Names[0])
		}
		p.add(option, []string{value})
		return args, nil
	}
	n := p.words(args, option.Takes)
	if n == 0 && (option.Takes == One || option.Takes == Some) {
		return nil, fmt.Errorf("%s needs a value", option.Names[0])
	}
	p.add(option, args[:n])
	return args[n:], nil
}

// words is how many of args a flag takes.
func (p *parser) words(args []string, takes Takes) int {
	most := len(args)
	switch takes {
	case None, Count:
		most = 0
	case One, Maybe:
		most = min(most, 1)
	}
	n := 0
	for n < most && !p.dashed(args[n]) {
		n++
	}
	return n
}

var negative = regexp.MustCompile(`^-\d+$|^-\d*\.\d+$`)

// dashed tells whether a word is a flag. A number is none, and what has a space in it
// only where it begins with the name of one.
func (p *parser) dashed(word string) bool {
	if len(word) < 2 || word[0] != '-' {
		return false
	}
	name, _, _ := strings.Cut(word, "=")
	option, err := p.find(word, name)
	return option != nil || err != nil || !negative.MatchString(word) && !strings.Contains(word, " ")
}

// find is the flag that a word names, by an unambiguous beginning of it too; nil if
// there is none.
func (p *parser) find(word, name string) (*Option, error) {
	for _, wanted := range []string{word, name} {
		for i, o := range p.options {
			for _, n := range o.Names {
				if n == wanted {
					return &p.options[i], nil
				}
			}
		}
	}
	if !strings.HasPrefix(name, "--") {
		return nil, nil
	}
	for _, late := range []bool{false, true} {
		var found []*Option
		var names []string
		for i, o := range p.options {
			for _, n := range o.Names {
				if o.Late == late && strings.HasPrefix(n, name) {
					found, names = append(found, &p.options[i]), append(names, n)
				}
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return nil, fmt.Errorf("%.40s could be %s", name, strings.Join(names, " or "))
		}
	}
	return nil, nil
}

// cluster reads several flags of one letter, as -OO.
func (p *parser) cluster(word string) bool {
	var all []*Option
	for _, letter := range word[1:] {
		o, _ := p.find("-"+string(letter), "-"+string(letter))
		if o == nil || o.Takes != None && o.Takes != Count {
			return false
		}
		all = append(all, o)
	}
	for _, o := range all {
		p.add(o, nil)
	}
	return true
}

func (p *parser) add(o *Option, values []string) {
	at, again := p.given[o.Names[0]]
	if !again {
		at = len(p.out)
		p.given[o.Names[0]] = at
		p.out = append(p.out, Given{Name: o.Names[0]})
	}
	p.out[at].Values = values
	p.out[at].Times++
}

// leftover refuses what no flag took.
func (p *parser) leftover() error {
	switch {
	case len(p.unknown) > 0:
		names := make([]string, 0, len(p.unknown))
		for _, n := range p.unknown[:min(len(p.unknown), 5)] {
			names = append(names, fmt.Sprintf("%.40s", n))
		}
		return fmt.Errorf("there is no flag %s", strings.Join(names, ", "))
	case p.loose == 1:
		return errors.New("a word belongs to no flag")
	case p.loose > 1:
		return fmt.Errorf("%d words belong to no flag", p.loose)
	}
	return nil
}
