package migrate

import (
	"slices"
	"strings"
	"sync"

	"github.com/samber/lo"
)

// Kind is what of clearml-agent a row is about.
type Kind string

// The kinds of rows.
const (
	KindFlag      Kind = "flag"
	KindKey       Kind = "key"
	KindVariable  Kind = "variable"
	KindBehaviour Kind = "behaviour"
)

// Verdict says what became of something.
type Verdict string

// The verdicts. Unknown is of notes alone: nothing of that name is in clearml-agent.
const (
	Mapped  Verdict = "mapped"
	NoOp    Verdict = "no effect"
	Refused Verdict = "not carried over"
	Unknown Verdict = "unknown"
	// Of behaviours.
	Same      Verdict = "the same"
	Otherwise Verdict = "otherwise"
)

// Row is one thing of clearml-agent 3.0.3 and what it is here.
type Row struct {
	Kind Kind
	// Name of a key is its path, of a flag "VERB --flag".
	Name    string
	Verdict Verdict
	// Target is where it went: paths of node.yaml, or flags, parted by commas.
	Target string
	// Why says what it means here; of Refused, also what to do.
	Why string
	// Key of a variable is the key of clearml.conf that it overrides.
	Key string
	// Test of a behaviour shows it, as "./test/e2e TestAbort".
	Test string

	older   []string         // other names of a variable; the first that is set counts
	convert func(string) any // of a variable, into what its key has
	secret  bool             // its value is in no message
	example any              // a value that changes Target
	apply   apply            // nil: there is nothing to carry over
	deep    bool             // it stands for all that is below it
}

// apply carries a value over. What it returns is told instead of Why: a noop, or why
// it can't be.
type apply func(t *translation, v any) error

// Rows are all of clearml-agent 3.0.3, keys in the order in which they are carried over.
var Rows = sync.OnceValue(func() []Row {
	all := slices.Concat(keysOfServer(), keysOfNode(), keysOfGit(), keysOfPackages(), keysOfDocker(), keysOfFolders(), keysOfOthers(),
		variables(), flags(), behaviours())
	keys := map[string]Row{}
	for i := range all {
		all[i].settle()
		if all[i].Kind == KindKey {
			keys[all[i].Name] = all[i]
		}
	}
	for i := range all {
		all[i].follow(keys)
	}
	return all
})

var byKey = sync.OnceValue(func() map[string]int {
	keys := map[string]int{}
	for i, r := range Rows() {
		if r.Kind == KindKey {
			keys[r.Name] = i
		}
	}
	return keys
})

// settle turns a row whose target is no field of node.yaml in this build into one that
// is not carried over, so that table, documentation and translation never claim a field
// that is not there.
func (r *Row) settle() {
	if r.Verdict != Mapped || r.Kind == KindFlag {
		return
	}
	all := targets(r.Target)
	missing := lo.Reject(all, func(path string, _ int) bool { return isField(path) })
	if len(all) > 0 && len(missing) == len(all) {
		r.Verdict, r.Target = Refused, ""
		r.Why = "This build has no " + strings.Join(missing, ", ") + "."
		r.apply = refusedIf(true, r.Why, r.Name)[0].apply
	}
}

// follow gives a variable what its key has.
func (r *Row) follow(keys map[string]Row) {
	if r.Kind != KindVariable || r.Key == "" {
		return
	}
	k := keys[r.Key]
	r.Verdict, r.Target, r.secret, r.apply = k.Verdict, k.Target, k.secret, k.apply
	if r.example == nil {
		r.example = k.example
	}
	if r.Why == "" {
		r.Why = k.Why
	}
}

func targets(target string) []string {
	return lo.FilterMap(strings.Split(target, ","), func(s string, _ int) (string, bool) {
		s = strings.TrimSpace(s)
		return s, strings.HasPrefix(s, "spec.") || strings.HasPrefix(s, "metadata.")
	})
}

// key is a key that is carried over.
func key(name, target, why string, example any, do apply) Row {
	return Row{Kind: KindKey, Name: name, Verdict: Mapped, Target: target, Why: why, example: example, apply: do}
}

// secretKey is a key whose value goes to a file of its own.
func secretKey(name, target, why string, example any, do apply) Row {
	r := key(name, target, why, example, do)
	r.secret = true
	return r
}

// noop are keys without an effect here.
func noop(why string, names ...string) []Row {
	return lo.Map(names, func(n string, _ int) Row { return Row{Kind: KindKey, Name: n, Verdict: NoOp, Why: why} })
}

// refused are keys that are not carried over.
func refused(why string, names ...string) []Row {
	return lo.Map(names, func(n string, _ int) Row { return Row{Kind: KindKey, Name: n, Verdict: Refused, Why: why} })
}

// refusedIf are keys of which one setting is not carried over; any other is as it is here.
func refusedIf(setting bool, why string, names ...string) []Row {
	return lo.Map(refused(why, names...), func(r Row, _ int) Row {
		r.apply = func(_ *translation, v any) error {
			on, err := boolOf(v)
			if err == nil && on != setting {
				return nothing("is as it is here")
			}
			return refusal(why)
		}
		return r
	})
}
