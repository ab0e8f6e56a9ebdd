package dockerargs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/pflag"
)

// Limits of what is read: arguments come from whoever can edit a task.
const (
	maxText     = 64 << 10
	maxWords    = 1000
	maxRequests = 500
)

// Parse reads arguments as one text.
func Parse(text string) ([]Request, []Refusal) {
	words, refusal := Split(text)
	if refusal != nil {
		return nil, []Refusal{*refusal}
	}
	return ParseWords(words)
}

// Split parts a text into words as a shell does it. Nothing is expanded: a $ or a *
// stays what it is.
func Split(text string) ([]string, *Refusal) {
	if len(text) > maxText {
		return nil, &Refusal{"the arguments", fmt.Sprintf("are longer than %d bytes", maxText), "write fewer"}
	}
	words, err := shellquote.Split(text)
	if err != nil {
		return nil, &Refusal{"the arguments", "have a quote that is not closed, or a backslash at the end", "close it"}
	}
	return words, nil
}

// ParseWords reads arguments that are in words already.
//
// After an option that nobody knows it can't be told what is an option and what is
// a value, so that reading ends there. What was read before it is returned.
func ParseWords(words []string) ([]Request, []Refusal) {
	size := 0
	for _, w := range words {
		size += len(w)
		switch {
		case strings.ContainsRune(w, 0):
			return nil, []Refusal{{"the arguments", "have a zero byte", "take it out"}}
		case strings.HasPrefix(w, "-test."): // pflag passes over them without a word
			return nil, []Refusal{{"-test.", "is no option of docker run that is known here", "leave it out"}}
		}
	}
	if len(words) > maxWords || size > maxText {
		return nil, []Refusal{{"the arguments", fmt.Sprintf("are more than %d words or %d bytes", maxWords, maxText), "write fewer"}}
	}
	r := reader{}
	flags := flagSet()
	r.ended(flags.ParseAll(words, r.flag))
	if n := flags.NArg(); n > 0 { // they are not repeated: one may be a part of a secret
		r.refuse("the arguments", fmt.Sprintf("have words that belong to no option (%d)", n),
			"write options only: the image has a field of its own, and what is run is the task")
	}
	r.requests = joinQuota(r.requests)
	return r.requests, r.refusals
}

type reader struct {
	requests []Request
	refusals []Refusal
}

// errEnough ends reading.
var errEnough = errors.New("too many arguments")

// flagSet has each spelling of each option as a flag of its own, since pflag tells
// which flag was found, not how it was written. The name of a short one can't be
// typed as a long one.
func flagSet() *pflag.FlagSet {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.Usage = func() {}
	for _, o := range options {
		for _, name := range o.names {
			spelling, short := name, ""
			if len(name) == 1 {
				spelling, short = "-"+name, name
			}
			flag := flags.VarPF(nowhere{}, spelling, short, "")
			if o.flag {
				flag.NoOptDefVal = "true"
			}
		}
	}
	return flags
}

// nowhere is the value of each flag: values are read as they are found.
type nowhere struct{}

func (nowhere) String() string   { return "" }
func (nowhere) Set(string) error { return nil }
func (nowhere) Type() string     { return "" }

// flag reads one option. It gives no error for what can't be read, so that all
// faults are told at once.
func (r *reader) flag(f *pflag.Flag, value string) error {
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = f.Name
	}
	if len(r.requests)+len(r.refusals) >= maxRequests {
		r.refuse(name, fmt.Sprintf("is more than %d arguments", maxRequests), "write fewer")
		return errEnough
	}
	o := byName[strings.TrimLeft(name, "-")]
	arg := o.argument(name, value)
	req, err := o.parse(value)
	var own fault
	switch {
	case errors.As(err, &own):
		r.refuse(arg, own.why, own.fix)
	case err != nil:
		r.refuse(arg, "cannot be read: "+plain(err.Error()), "write it as "+argument(name, o.example))
	case req.Kind != "":
		req.Option, req.Argument = name, arg
		r.requests = append(r.requests, req)
	}
	return nil
}

func (r *reader) refuse(argument, fault, fix string) {
	r.refusals = append(r.refusals, Refusal{argument, fault, fix})
}

// ended tells why reading ended before the end of the words.
func (r *reader) ended(err error) {
	var unknown *pflag.NotExistError
	var alone *pflag.ValueRequiredError
	switch {
	case err == nil || errors.Is(err, errEnough):
	case errors.As(err, &alone):
		r.refuse(written(alone.GetSpecifiedName(), alone.GetSpecifiedShortnames()), "has no value", "give it one or leave it out")
	case errors.As(err, &unknown):
		r.refuse(written(unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()),
			"is no option of docker run that is known here", "leave it out; what follows it was not read")
	default: // the words are not repeated: a value may stand where an option is expected
		r.refuse("the arguments", "can't be read as options", "write them as for docker run, as -e NAME=VALUE")
	}
}

func written(name, shorthands string) string {
	if shorthands != "" {
		return plain("-" + name)
	}
	return plain("--" + name)
}
