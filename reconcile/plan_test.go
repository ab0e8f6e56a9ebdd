package reconcile

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"agentctl/spec"
)

var update = flag.Bool("update", false, "rewrite the golden plans")

// noon is the time of all golden plans.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// TestGoldenPlans holds one situation a file: what runs by which node.yaml, which
// node.yaml comes, and the plan.
//
//	-- before.yaml --    settings of the observed workers; left out: as after.yaml
//	-- after.yaml --     the desired node
//	-- observed --       NAME STATE [task=ID] [for=TIME] [deadline=TIME] [has=SLOT,…] [ending=POLICY]
//	                     [draining[=TIME]] [cordoned] [order=POLICY] [within=TIME] [force] [why=WORD]
//	                     [slots=SLOT,…] [served=N]
//	                     gpu INDEX UUID [problem=WORD]
//	                     gpus silent
//	-- plan --           the result
func TestGoldenPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plans/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 90 {
		t.Fatalf("only %d golden plans", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { goldenPlan(t, file) })
	}
}

func goldenPlan(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]*txtar.File{}
	for i := range archive.Files {
		parts[archive.Files[i].Name] = &archive.Files[i]
	}
	after := DesiredOf(nodeOf(t, string(parts["after.yaml"].Data)))
	before := after.Workers
	if f := parts["before.yaml"]; f != nil {
		before = workersOf(t, string(f.Data))
	}
	observed := observedOf(t, before, string(parts["observed"].Data))
	got := render(Compute(after, observed, noon))
	if again := render(Compute(after, observed, noon)); again != got {
		t.Errorf("the same input gave another plan:\n%s", again)
	}
	if *update {
		if parts["plan"] == nil {
			archive.Files = append(archive.Files, txtar.File{Name: "plan"})
			parts["plan"] = &archive.Files[len(archive.Files)-1]
		}
		parts["plan"].Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := gocmp.Diff(string(parts["plan"].Data), got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

// nodeOf decodes the spec part of a node.yaml, with defaults.
func nodeOf(t testing.TB, text string) *spec.Node {
	t.Helper()
	node, problems := spec.Decode("node.yaml", []byte("apiVersion: agentctl/v1\nkind: Node\n"+text))
	if node == nil {
		t.Fatal(problems)
	}
	return node.Default(spec.Env{Hostname: "n1"})
}

func workersOf(t testing.TB, text string) []spec.Worker { return spec.Expand(nodeOf(t, text)) }

// observedOf reads the lines of a golden plan. A worker that the spec does not have
// has the settings of its group's first.
func observedOf(t *testing.T, specs []spec.Worker, text string) Observed {
	t.Helper()
	o := Observed{Workers: map[string]WorkerStatus{}}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			t.Fatalf("observed: %q", line)
		}
		if fields[0] == "gpus" {
			o.GPUsSilent = true
			continue
		}
		if fields[0] == "gpu" {
			o.GPUs = append(o.GPUs, gpuOf(t, fields[1:]))
			continue
		}
		w := WorkerStatus{Name: fields[0], State: WorkerState(fields[1])}
		for _, s := range specs {
			if s.Name == w.Name {
				w.Spec = s
			}
		}
		if w.Spec.Name == "" {
			t.Fatalf("observed: %s is not in before.yaml", w.Name)
		}
		for _, f := range fields[2:] {
			observe(t, &w, f)
		}
		o.Workers[w.Name] = w
	}
	return o
}

func gpuOf(t *testing.T, fields []string) GPU {
	t.Helper()
	index, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	g := GPU{Index: index, UUID: fields[1]}
	if len(fields) > 2 {
		g.Problem = strings.TrimPrefix(fields[2], "problem=")
	}
	return g
}

func observe(t *testing.T, w *WorkerStatus, fact string) {
	t.Helper()
	key, value, _ := strings.Cut(fact, "=")
	ago := func() time.Time {
		d, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		return noon.Add(-d)
	}
	order := func() *Order {
		if w.Order == nil {
			w.Order = &Order{Since: noon}
		}
		return w.Order
	}
	switch key {
	case "task":
		w.Task = &TaskStatus{ID: value, Worker: w.Name}
	case "for":
		w.Task.Leased = ago()
		if w.State == StateRunning {
			w.Task.Started = w.Task.Leased
		}
	case "deadline":
		w.Task.Deadline = ago()
	case "has":
		w.Task.Slots = strings.Split(value, ",")
	case "ending":
		w.Task.Ending = value
	case "draining":
		if w.Draining = true; value != "" {
			w.DrainingSince = ago()
		}
	case "cordoned":
		order()
	case "order":
		order().Policy = value
	case "within":
		order().Deadline = ago()
	case "force":
		order().Force = true
	case "why":
		order().Reason = value
	case "slots":
		w.Slots = strings.Split(value, ",")
	case "served":
		w.Served, _ = strconv.Atoi(value)
	default:
		t.Fatalf("observed: what is %q?", fact)
	}
}

func render(p Plan) string {
	var b strings.Builder
	for _, a := range p.Actions {
		fmt.Fprintf(&b, "%s %s: %s\n", a.Verb, a.Worker, a.Reason)
		if a.Task != "" {
			fmt.Fprintf(&b, "\ttask %s\n", a.Task)
		}
		for _, c := range a.Changes {
			fmt.Fprintf(&b, "\t%s [%s]\n", c, c.Class)
		}
		if (a.Spec != nil) != (a.Verb == Start || a.Verb == Update) {
			fmt.Fprintf(&b, "\tspec: %v\n", a.Spec)
		}
		if !a.Until.IsZero() {
			fmt.Fprintf(&b, "\tuntil %s\n", a.Until.Format(time.RFC3339))
		}
		if len(a.Slots) > 0 {
			fmt.Fprintf(&b, "\tslots %s\n", strings.Join(a.Slots, ", "))
		}
		if a.Stalled {
			fmt.Fprintln(&b, "\tstalled")
		}
		if a.Force {
			fmt.Fprintln(&b, "\tforce")
		}
	}
	for _, m := range p.Slots {
		fmt.Fprintf(&b, "gpu %s: %s -> %s", m.Slot, cmp.Or(m.From, "free"), cmp.Or(m.To, "free"))
		if m.Task != "" {
			fmt.Fprintf(&b, " after task %s", m.Task)
		}
		fmt.Fprintln(&b)
	}
	if !p.Wake.IsZero() {
		fmt.Fprintf(&b, "wake %s\n", p.Wake.Format(time.RFC3339))
	}
	return b.String()
}
