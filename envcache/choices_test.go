package envcache

import (
	"cmp"
	"slices"
	"strings"
	"testing"
)

// partsOf are the parts of a request's key.
func partsOf(t *testing.T, c *Cache, req Request) []Part {
	t.Helper()
	req.Manager = cmp.Or(req.Manager, ManagerPip)
	a, err := c.acquisition(t.Context(), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a.parts
}

// An optional package that can't be had is left out with a word, before and after
// the others; the rest is what it would be without it.
func TestOptionalPackages(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	for _, p := range []string{"early", "late", "middle"} {
		x.add(wheel(p, "1.0"))
	}
	x.add(wheel("broken", "1.0", "nowhere"))
	seen := &lists{Exec: HostExec{}}
	c := newCache(t, Options{Exec: seen})
	req := Request{
		Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser,
		PriorityOptional: []string{"Early", "broken", "absent"}, PostOptional: []string{"late", "gone"},
	}.with("late", "middle", "early", "broken", "gone")
	var say said
	l, err := c.Acquire(t.Context(), req, say.hear)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	seen.want(t, "early", "broken early", "early middle", "early late middle", "early gone late middle")
	if want := []string{"early==1.0", "late==1.0", "middle==1.0"}; !slices.Equal(l.Frozen, want) {
		t.Errorf("frozen %q", l.Frozen)
	}
	for _, want := range []string{"WARNING: broken can't be installed", "WARNING: gone can't be installed"} {
		if !strings.Contains(say.text(), want) {
			t.Errorf("nothing says %q:\n%s", want, say.text())
		}
	}
	a, err := c.acquisition(t.Context(), Request{Manager: ManagerPip, Python: req.Python, PostOptional: []string{"late"}}.with("late==1.0"), nil)
	if err != nil || !a.plan.unpinned {
		t.Errorf("what may lack is not tried again: %v", err)
	}
	req.Priority = []string{"broken"} // which counts more
	if l, err := c.Acquire(t.Context(), req, nil); err == nil {
		_ = l.Close()
		t.Error("a package of priority is left out")
	}
	if l := acquire(t, c, Request{Python: req.Python, IndexURL: x.url(), UID: SameUser, GID: SameUser, PriorityOptional: []string{"early"}}.with("early", "middle")); l.Lock == nil {
		t.Error("there is no lock, and nothing of it is uncertain")
	}
}

// A package may have a line for each Python: none of the others is left out with it.
func TestOptionalPackageOfSeveralLines(t *testing.T) {
	t.Parallel()
	p := &pipPlan{ordered: true, access: &access{}, lacking: map[string]bool{}, list: reqList{lines: []string{
		"gone==1 ; python_version < '3'", "rest", "gone>1 ; python_version >= '3'", "late",
	}}}
	req := Request{PriorityOptional: []string{"gone"}, PostOptional: []string{"late"}}
	before := listRuns(p, req)
	p.lacking["gone"] = true
	after := listRuns(p, req)
	if len(before) != 3 || len(after) != 2 || before[0].optional != "gone" || after[0].optional != "" || after[1].optional != "late" {
		t.Errorf("%q without it, %q with it", after, before)
	}
}

// Flags reach pip, and a list has another environment by them; one without flags has
// the key that it had before there were any.
func TestInstallFlags(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("needs", "1.0", "nowhere"))
	x.add(wheel("six", "1.0"))
	x.add(wheel("six", "2.0rc1"))
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}.with("needs", "six")
	plain := partsOf(t, c, req)
	req.InstallFlags = []string{"--no-deps", "--pre", "--only-binary=:all:"}
	if l := acquire(t, c, req); !slices.Equal(l.Frozen, []string{"needs==1.0", "six==2.0rc1"}) || l.Lock == nil {
		t.Errorf("frozen %q, lock %+v", l.Frozen, l.Lock)
	}
	flagged := partsOf(t, c, req)
	if keyOf(plain) == keyOf(flagged) || slices.ContainsFunc(plain, func(p Part) bool { return p.Name == flagsPart }) {
		t.Error("flags are in no key, or in that of a request without any")
	}
	slices.Reverse(req.InstallFlags)
	if keyOf(flagged) != keyOf(partsOf(t, c, req)) {
		t.Error("the order of flags makes another key")
	}
}

func TestFlagsForUV(t *testing.T) {
	t.Parallel()
	list := reqList{lines: []string{"six"}}
	noDeps, notes := uvFlags(&list, Request{InstallFlags: []string{
		"--no-deps", "--pre", "--prefer-binary", "--only-binary=a,b", "--no-binary=:all:", "--no-build-isolation", "--require-hashes", "--use-pep517",
	}})
	if want := []string{"--pre", "--only-binary a,b", "--no-binary :all:", "--require-hashes", "six"}; !noDeps || !slices.Equal(list.lines, want) {
		t.Errorf("%t, %q", noDeps, list.lines)
	}
	if said := strings.Join(notes, "\n"); len(notes) != 2 || !strings.Contains(said, "--prefer-binary") || !strings.Contains(said, "--no-build-isolation") {
		t.Errorf("notes %q", notes)
	}
}

// The index of PyTorch's wheels is looked for in for lists that name one of them, by
// pip and by uv, and is in the key of those alone.
func TestTorchIndex(t *testing.T) {
	t.Parallel()
	x, torch := newIndexServer(t, "", ""), newIndexServer(t, "", "")
	x.add(wheel("torch", "2.0"))
	x.add(wheel("six", "1.0"))
	torch.add(wheel("torch", "2.0+cu124"))
	c := newCache(t, Options{})
	base := Request{
		Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser,
		TorchIndex: torch.url(), TorchWhy: "since the driver says so",
	}
	var say said
	l, err := c.Acquire(t.Context(), base.with("torch==2.0", "six"), say.hear)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if !slices.Contains(l.Frozen, "torch==2.0+cu124") || !strings.Contains(say.text(), "torch: looked for in "+torch.url()+" too, since the driver says so") {
		t.Errorf("frozen %q\n%s", l.Frozen, say.text())
	}
	for line, counts := range map[string]bool{"torch": true, "TorchVision<1": true, "torch @ https://x.example.com/torch-1-py3-none-any.whl": false, "torchmetrics": false, "six": false} {
		for _, manager := range []string{ManagerPip, ManagerUV} {
			with, without := base.with(line), base.with(line)
			with.Manager, without.Manager, without.TorchIndex = manager, manager, ""
			if other := keyOf(partsOf(t, c, with)) != keyOf(partsOf(t, c, without)); other != counts {
				t.Errorf("%s by %s: another key: %t", line, manager, other)
			}
		}
	}
}

// The same by uv, which installs all at once.
func TestChoicesByUV(t *testing.T) {
	t.Parallel()
	x, torch := newIndexServer(t, "", ""), newIndexServer(t, "", "")
	x.add(wheel("needs", "1.0", "nowhere"))
	x.add(wheel("six", "2.0rc1"))
	x.add(wheel("six", "1.0"))
	x.add(wheel("torch", "2.0"))
	torch.add(wheel("torch", "2.0+cu124"))
	c := newUVCache(t, Options{})
	req := uvRequest(t, x.url(), "six", "torch==2.0", "gone")
	req.PostOptional, req.TorchIndex, req.TorchWhy = []string{"gone"}, torch.url(), "as the node says"
	var say said
	l, err := c.Acquire(t.Context(), req, say.hear)
	if err != nil {
		t.Fatalf("%v\n%s", err, say.text())
	}
	defer func() { _ = l.Close() }()
	if !slices.Equal(l.Frozen, []string{"six==1.0", "torch==2.0+cu124"}) || !strings.Contains(say.text(), "WARNING: the list can't be resolved, and is tried without its optional packages: gone") {
		t.Errorf("frozen %q\n%s", l.Frozen, say.text())
	}
	req = uvRequest(t, x.url(), "six", "needs")
	if l, err := c.Acquire(t.Context(), req, nil); err == nil {
		_ = l.Close()
		t.Error("what is not optional is left out")
	}
	req.InstallFlags = []string{"--no-deps", "--pre"}
	if l := acquire(t, c, req); !slices.Equal(l.Frozen, []string{"needs==1.0", "six==2.0rc1"}) {
		t.Errorf("frozen %q", l.Frozen)
	}
}
