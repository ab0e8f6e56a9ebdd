package migrate

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"agentctl/spec"
)

// Options of a translation.
type Options struct {
	// Path is where the file of this name is, or will be, that holds a secret.
	Path func(name string) string
	// Queues of the one group of workers; empty: the queue default, as clearml-agent.
	Queues []string
	// Sandbox says that the node ran clearml-agent with --docker.
	Sandbox bool
	// GPUs says that the machine has some, which tasks of clearml-agent all see.
	GPUs bool
}

// Secret is a file that only its owner may read.
type Secret struct {
	Name    string
	Content []byte
}

// Note tells what became of a key or a variable.
type Note struct {
	// Name of the key or variable.
	Name    string
	Verdict Verdict
	// Target are the fields of node.yaml that it changed.
	Target string
	Text   string

	said string // of this very value, and part of Text
}

// Result is a translated configuration. Its Node is valid, without defaults, and has
// one group of workers.
type Result struct {
	Node    *spec.Node
	Secrets []Secret
	Notes   []Note
}

// translation is one at work.
type translation struct {
	opts    Options
	tree    tree
	patch   bool // a layer over a node.yaml that is not known
	valid   func(tree) error
	git     gitLogins
	index   map[string]login // by host
	keys    serverKeys
	agent   map[string]string // variables for the agent's own environment, by name
	name    string            // of the node, where that is no field
	bare    bool              // the section environment counts for nothing
	touched bool
	said    string // by the row at work, beside its Why
	notes   []Note
}

// setting is a value with its row.
type setting struct {
	name  string
	row   int // -1: none
	value any
}

// Node translates a resolved configuration, as pyhocon reads it, with the variables
// over it, as KEY=VALUE; variables may be nil. Whatever node.yaml can't hold is in the notes.
func Node(conf map[string]any, variables []string, opts Options) (Result, error) {
	t := newTranslation(opts, validNode)
	queues := opts.Queues
	if len(queues) == 0 {
		queues = []string{"default"}
	}
	t.tree["kind"] = spec.KindNode
	t.tree.set("spec.workers[].name", "default")
	for _, q := range queues {
		t.tree.push("spec.workers[].queues", q)
	}
	if opts.Sandbox {
		t.tree.set("spec.workers[].mode", spec.ModeSandbox)
	}
	if opts.GPUs {
		t.tree.set("spec.gpus.slots", spec.SlotsAuto)
		t.tree.set("spec.workers[].gpus", spec.GPUsAll)
	}
	t.tree.set("spec.packageManager.python.onMissing", spec.OnMissingNearest)
	if err := t.valid(t.tree); err != nil {
		return Result{}, err
	}
	over, more := overridden(conf, variables)
	t.run(append(settings(over), more...))
	n, err := decode(t.tree)
	return Result{Node: n, Secrets: t.secrets(), Notes: t.notes}, err
}

func newTranslation(opts Options, valid func(tree) error) *translation {
	if opts.Path == nil {
		opts.Path = func(name string) string { return "/etc/agentctl/" + name }
	}
	return &translation{
		opts: opts, tree: tree{"apiVersion": spec.APIVersion}, valid: valid, index: map[string]login{}, agent: map[string]string{},
	}
}

// run carries settings over, in the order of the table.
func (t *translation) run(all []setting) {
	slices.SortStableFunc(all, func(a, b setting) int { return cmp.Compare(a.row, b.row) })
	for _, s := range all {
		if s.row < 0 {
			t.note(Note{Name: s.name, Verdict: Unknown, Text: "clearml-agent 3.0.3 has nothing of this name, and agentctl neither"})
			continue
		}
		t.carry(s, Rows()[s.row])
	}
	t.finish()
}

func (t *translation) note(n Note) { t.notes = append(t.notes, n) }

// carry carries one value over, or tells why not. A value that node.yaml can't hold
// leaves no trace in it.
func (t *translation) carry(s setting, r Row) {
	n := Note{Name: s.name, Verdict: r.Verdict, Text: r.Why}
	defer func() { t.note(n) }()
	switch {
	case empty(s.value) && !r.deep:
		n.Verdict, n.Text = NoOp, "is empty, which is as if it were not there"
		return
	case r.apply == nil:
		return
	case t.patch && onlyWorkers(r.Target):
		n.Verdict, n.Text = Refused, "is a setting of workers, of which this node may have several: write "+r.Target+", or start the worker with agentctl daemon"
		return
	}
	before, agent := clone(map[string]any(t.tree)).(map[string]any), maps.Clone(t.agent)
	t.touched, t.said = false, ""
	err := r.apply(t, s.value)
	if err == nil {
		err = t.valid(t.tree)
	}
	var no noopError
	switch {
	case errors.As(err, &no):
		n.Verdict, n.Text = NoOp, no.Error()
	case err != nil:
		t.tree, t.agent = before, agent
		n.Verdict, n.Text = Refused, err.Error()
	case !t.touched && reflect.DeepEqual(map[string]any(t.tree), before):
		n.Verdict, n.Text = NoOp, "is as it is here"
	default:
		n.Verdict, n.Target = Mapped, r.Target
	}
	if t.said != "" {
		n.said = t.said
		n.Text = strings.TrimPrefix(strings.TrimSuffix(n.Text, ".")+"; "+t.said, "; ")
	}
}

// say adds to the note of the row at work.
func (t *translation) say(text string) {
	switch {
	case t.said == "":
		t.said = text
	case !strings.Contains("; "+t.said+"; ", "; "+text+"; "):
		t.said += "; " + text
	}
}

func onlyWorkers(target string) bool {
	all := targets(target)
	return len(all) > 0 && !slices.ContainsFunc(all, func(p string) bool { return !strings.HasPrefix(p, "spec.workers[]") })
}

func decode(t tree) (*spec.Node, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	n, problems := spec.Decode("", data)
	return n, problems.Err()
}

// validNode is why node.yaml can't be so.
func validNode(t tree) error {
	data, err := json.Marshal(t)
	if err != nil {
		return refuse("its value can't be written")
	}
	_, problems := spec.Decode("", data)
	return firstFault(problems)
}

func firstFault(problems spec.Problems) error {
	errs := problems.Errors()
	if len(errs) == 0 {
		return nil
	}
	return refuse("%s", strings.TrimSuffix(errs[0].Path+" "+errs[0].Fault+"; "+errs[0].Fix, "; "))
}
