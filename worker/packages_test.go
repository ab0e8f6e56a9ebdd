package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/envcache"
	"agentctl/envcache/repo"
	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
)

// params is a section of hyperparameters of the task's choice.
func params(kv ...string) map[string]map[string]clearml.Param {
	section := map[string]clearml.Param{}
	for i := 0; i < len(kv); i += 2 {
		section[kv[i]] = clearml.Param{Value: clearml.Text(kv[i+1])}
	}
	return map[string]map[string]clearml.Param{ChoiceSection: section, "General": {"packageManager.typ": {Value: "x"}}}
}

func TestChoice(t *testing.T) {
	t.Parallel()
	pm := spec.PackageManager{Type: "pip", Python: spec.Python{Default: "3.9"}, Groups: spec.List{"dev"}}
	for name, tc := range map[string]struct {
		params map[string]map[string]clearml.Param
		binary string
		want   string // manager, python, groups, extras
		err    string
	}{
		"nothing":         {want: "pip 3.9 dev "},
		"binary":          {binary: "/usr/bin/python3.11", want: "pip 3.11 dev "},
		"binary, options": {binary: "/usr/bin/python3.11 -u", want: "pip 3.11 dev "},
		"binary, no more": {binary: "python3", want: "pip 3.9 dev "},
		"all":             {params: params(ChoiceManager, "uv", ChoicePython, "3.12", ChoiceGroups, "a, b", ChoiceExtras, "['gpu']"), binary: "python3.11", want: "uv 3.12 a,b gpu"},
		"python's name":   {params: params(ChoicePython, "python3.12.1"), want: "pip 3.12.1 dev "},
		"empty values":    {params: params(ChoiceManager, "", ChoiceGroups, " "), want: "pip 3.9 dev "},
		"all groups":      {params: params(ChoiceGroups, "*"), want: "pip 3.9 * "},
		"no manager":      {params: params(ChoiceManager, "apt"), err: "write one of pip, uv, conda, poetry, auto"},
		"no version":      {params: params(ChoicePython, "3.12; rm -rf /"), err: "write a version"},
		"no group":        {params: params(ChoiceGroups, "--with dev"), err: `"--with" is no name`},
		"no name":         {params: params("packageManager.indexUrl", "http://evil"), err: "none of that name"},
		"no task":         {params: params(ChoiceReplay, "../x"), err: "the id of a task"},
	} {
		p, err := packagesOf(&clearml.Task{Hyperparams: tc.params, Script: clearml.Script{Binary: tc.binary}}, command{}, pm)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v, want %q", name, err, tc.err)
			}
			continue
		}
		got := strings.Join([]string{p.pm.Type, p.python, strings.Join(p.pm.Groups, ","), strings.Join(p.pm.Extras, ",")}, " ")
		if err != nil || got != tc.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tc.want)
		}
	}
}

// Which list counts, by requirementsFrom.
func TestRequirementsFrom(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "requirements.txt"), []byte("six\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	own := clearml.Requirements{Pip: clearml.Lines{"a==2"}, OrgPip: clearml.Lines{"a"}, Conda: clearml.Lines{"c=2"}, OrgConda: clearml.Lines{"c"}}
	fresh := clearml.Requirements{Pip: clearml.Lines{"a"}}
	for _, tc := range []struct {
		from, base string
		own        clearml.Requirements
		manager    string
		want       []string
		conda      []string
	}{
		{"", base, own, "pip", []string{"a==2"}, nil},
		{spec.RequirementsTask, base, own, "conda", []string{"a==2"}, []string{"c=2"}},
		{spec.RequirementsTask, base, clearml.Requirements{}, "pip", []string{"-r requirements.txt"}, nil},
		{spec.RequirementsRepository, base, own, "pip", []string{"-r requirements.txt"}, nil},
		{spec.RequirementsRepository, base, own, "conda", []string{"-r requirements.txt"}, nil},
		{spec.RequirementsRepository, t.TempDir(), own, "pip", []string{"a==2"}, nil},
		{spec.RequirementsRepository, "", own, "pip", []string{"a==2"}, nil},
		{spec.RequirementsOriginal, base, own, "pip", []string{"a"}, nil},
		{spec.RequirementsOriginal, base, own, "conda", []string{"a"}, []string{"c"}},
		{spec.RequirementsOriginal, base, fresh, "pip", []string{"a"}, nil},
	} {
		task := &clearml.Task{Script: clearml.Script{Requirements: tc.own}}
		task.Script.Requirements.Lock = aLock(t, tc.own.Pip, tc.own.Conda, nil)
		if tc.base != "" {
			task.Script.Repository = "https://git.example.com/r"
		}
		p, err := packagesOf(task, command{}, spec.PackageManager{Type: tc.manager, RequirementsFrom: tc.from})
		if err != nil {
			t.Fatal(err)
		}
		if left := tc.from == spec.RequirementsRepository || tc.from == spec.RequirementsOriginal; left && p.lock != nil {
			t.Errorf("%+v: the lock of a run counts", tc)
		}
		if want := tc.from == spec.RequirementsRepository && tc.base != ""; want && !p.needsCheckout() {
			t.Errorf("%+v: the repository is not looked at", tc)
		}
		p.lock = nil
		req, _, err := p.request(tc.base)
		if err != nil || !slices.Equal(req.Requirements, tc.want) || !slices.Equal(req.CondaRequirements, tc.conda) {
			t.Errorf("%+v: %q and %q, %v", tc, req.Requirements, req.CondaRequirements, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"a,b", "['x', 'y']", "*", "(a)", "-x", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		list, err := names(value)
		if err == nil && slices.ContainsFunc(list, func(n string) bool { return strings.HasPrefix(n, "-") || strings.ContainsAny(n, " ,;\n\x00") }) {
			t.Fatalf("%q gives %q", value, list)
		}
	})
}

// aLock is a lock of pip for the lists, changed by change.
func aLock(t *testing.T, pip, conda []string, change func(*envcache.Lock)) clearml.Text {
	t.Helper()
	l := envcache.Lock{
		Manager: spec.ManagerPip, Python: "3.11.7", For: listed(pip, conda),
		Packages: []string{"six==1.16.0 --hash=sha256:" + strings.Repeat("ab", 32)},
	}
	if change != nil {
		change(&l)
	}
	data, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return clearml.Text(data)
}

func TestLockOf(t *testing.T) {
	t.Parallel()
	list := clearml.Lines{"six==1.16.0"}
	good := aLock(t, list, nil, nil)
	for name, tc := range map[string]struct {
		req clearml.Requirements
		err string
	}{
		"good":          {req: clearml.Requirements{Pip: list, Lock: good}},
		"blank lines":   {req: clearml.Requirements{Pip: clearml.Lines{" six==1.16.0 ", ""}, Lock: good}},
		"none":          {req: clearml.Requirements{Pip: list}, err: "no lock"},
		"edited":        {req: clearml.Requirements{Pip: clearml.Lines{"six==1.17.0"}, Lock: good}, err: "was edited"},
		"conda edited":  {req: clearml.Requirements{Pip: list, Conda: clearml.Lines{"x"}, Lock: good}, err: "was edited"},
		"no JSON":       {req: clearml.Requirements{Pip: list, Lock: "x"}, err: "can't be read"},
		"unknown field": {req: clearml.Requirements{Pip: list, Lock: `{"manager":"pip","run":"sh"}`}, err: "can't be read"},
		"two values":    {req: clearml.Requirements{Pip: list, Lock: good + "{}"}, err: "something follows"},
		"too long":      {req: clearml.Requirements{Pip: list, Lock: clearml.Text(strings.Repeat(" ", mostLock)) + good}, err: "longer than"},
		"hostile line":  {req: clearml.Requirements{Pip: list, Lock: aLock(t, list, nil, func(l *envcache.Lock) { l.Packages = []string{"-e /etc"} })}, err: "does not pin a version"},
	} {
		l, err := LockOf(tc.req)
		if tc.err == "" && (err != nil || len(l.Packages) != 1) || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %+v, %v, want %q", name, l, err, tc.err)
		}
	}
}

func FuzzLockOf(f *testing.F) {
	f.Add(`{"manager":"pip","python":"3.11.7","packages":["six==1 --hash=sha256:` + strings.Repeat("ab", 32) + `"],"for":"` + listed([]string{"six==1"}, nil) + `"}`)
	f.Add(`{"manager":"conda","conda":["https://h/a-1-0.conda#` + strings.Repeat("ab", 16) + `"]}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, text string) {
		r := clearml.Requirements{Pip: clearml.Lines{"six==1"}, Lock: clearml.Text(text)}
		if l, err := LockOf(r); err == nil && (l.Check() != nil || l.For != listed(r.Pip, nil)) {
			t.Fatalf("accepted %q", text)
		}
	})
}

// repository makes a folder with files.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What is taken from where, in the order of clearml-agent.
func TestWherePackagesComeFrom(t *testing.T) {
	t.Parallel()
	const lockFile = "version = 1\nrequires-python = '>=3.9'\n"
	files := map[string]string{
		"requirements.txt": "a\n", "sub/requirements.txt": "b\n", "sub/run.py": "print(1)\n",
		"pyproject.toml": "[project]\nname = 'x'\nversion = '1'\n", "uv.lock": lockFile,
	}
	sum := sha256.Sum256([]byte(lockFile))
	pip := clearml.Lines{"six==1.16.0"}
	own := clearml.Requirements{Pip: pip, Conda: clearml.Lines{"numpy=2"}}
	locked := clearml.Requirements{Pip: pip, OrgPip: clearml.Lines{"six"}, Lock: aLock(t, pip, nil, nil)}
	byFile := func(digest string) clearml.Requirements {
		return clearml.Requirements{Pip: pip, Lock: aLock(t, pip, nil, func(l *envcache.Lock) { l.Manager, l.File, l.SHA256 = "uv", "uv.lock", digest })}
	}
	from := func(digest string, groups ...string) clearml.Requirements {
		return clearml.Requirements{Pip: pip, Lock: aLock(t, pip, nil, func(l *envcache.Lock) { l.Manager, l.Source, l.Groups = "uv", "uv.lock@"+digest, groups })}
	}
	good := hex.EncodeToString(sum[:])
	const headed = "# /// script\n# dependencies = ['six']\n# ///\n"
	source, err := sourceOf(repository(t, map[string]string{"sub/run.py": headed}), "sub/run.py")
	if err != nil {
		t.Fatal(err)
	}
	fromHeader := clearml.Requirements{Pip: pip, Lock: aLock(t, pip, nil, func(l *envcache.Lock) { l.Manager, l.Source = "uv", source })}
	for name, tc := range map[string]struct {
		manager string
		req     clearml.Requirements
		params  map[string]map[string]clearml.Param
		files   map[string]string
		want    string // manager, project, lines, conda lines, lock
		from    string
		refused string
		waits   bool // for the checkout
	}{
		"list":                   {manager: "pip", req: own, files: files, want: "pip;;six==1.16.0;;false", from: "the task's own list"},
		"files":                  {manager: "pip", files: files, want: "pip;;-r requirements.txt|-r sub/requirements.txt;;false", from: "requirements.txt, sub/requirements.txt of the repository", waits: true},
		"project":                {manager: "uv", req: own, files: files, want: "uv;uv.lock;;;false", from: "uv.lock of the repository", waits: true},
		"auto finds it":          {manager: "auto", req: own, files: files, want: "uv;uv.lock;;;false", from: "uv.lock of the repository", waits: true},
		"auto finds nothing":     {manager: "auto", req: own, files: map[string]string{"x": ""}, want: "pip;;six==1.16.0;;false", from: "the task's own list", waits: true},
		"another's project":      {manager: "conda", req: own, files: files, want: "conda;;six==1.16.0;numpy=2;false", from: "the task's own list", waits: true},
		"auto, no repository":    {manager: "auto", req: own, want: "pip;;six==1.16.0;;false", from: "the task's own list"},
		"nothing":                {manager: "pip", want: "pip;;;;false"},
		"a script's header":      {manager: "auto", req: own, files: map[string]string{"sub/run.py": "# /// script\n# dependencies = []\n# ///\n"}, want: "uv;sub/run.py;;;false", from: "the header of sub/run.py of the repository", waits: true},
		"lock":                   {manager: "pip", req: locked, files: files, want: "pip;;;;true", from: "the lock of an earlier run"},
		"lock counts first":      {manager: "auto", req: locked, files: files, want: "pip;;;;true", from: "the lock of an earlier run"},
		"lock of another":        {manager: "pip", req: locked, params: params(ChoiceManager, "uv"), files: files, want: "uv;uv.lock;;;false", from: "uv.lock of the repository", refused: "it is of pip", waits: true},
		"the file is the lock":   {manager: "pip", req: byFile(hex.EncodeToString(sum[:])), files: files, want: "uv;uv.lock;;;true", from: "the lock of an earlier run", waits: true},
		"the file has changed":   {manager: "uv", req: byFile(strings.Repeat("00", 32)), files: files, want: "uv;uv.lock;;;false", from: "uv.lock of the repository", refused: "uv.lock is not the one", waits: true},
		"the file is gone":       {manager: "pip", req: byFile(hex.EncodeToString(sum[:])), files: map[string]string{"x": ""}, want: "pip;;six==1.16.0;;false", from: "the task's own list", refused: "is not in the repository", waits: true},
		"from the file":          {manager: "pip", req: from(good), files: files, want: "uv;uv.lock;;;true", from: "the lock of an earlier run", waits: true},
		"from another file":      {manager: "uv", req: from(strings.Repeat("00", 32)), files: files, want: "uv;uv.lock;;;false", from: "uv.lock of the repository", refused: "uv.lock is not the one", waits: true},
		"a header, other code":   {manager: "pip", req: fromHeader, files: map[string]string{"sub/run.py": headed + "print(2)\n"}, want: "uv;sub/run.py;;;true", from: "the lock of an earlier run", waits: true},
		"another header":         {manager: "pip", req: fromHeader, files: map[string]string{"sub/run.py": strings.Replace(headed, "six", "seven", 1)}, want: "pip;;six==1.16.0;;false", from: "the task's own list", refused: "sub/run.py is not the one", waits: true},
		"the same groups":        {manager: "uv", req: from(good, "a", "b"), params: params(ChoiceGroups, "b, a"), files: files, want: "uv;uv.lock;;;true", from: "the lock of an earlier run", waits: true},
		"other groups":           {manager: "uv", req: from(good, "a", "b"), params: params(ChoiceGroups, "b"), files: files, want: "uv;uv.lock;;;false", from: "uv.lock of the repository", refused: "other groups", waits: true},
		"the same Python":        {manager: "pip", req: locked, params: params(ChoicePython, "3.11"), want: "pip;;;;true", from: "the lock of an earlier run"},
		"another Python":         {manager: "pip", req: locked, params: params(ChoicePython, "3.1"), want: "pip;;six==1.16.0;;false", from: "the task's own list", refused: "for python 3.11.7"},
		"the file has no folder": {manager: "pip", req: byFile(hex.EncodeToString(sum[:])), want: "pip;;six==1.16.0;;false", from: "the task's own list", refused: "the task has none"},
	} {
		task := &clearml.Task{Hyperparams: tc.params, Script: clearml.Script{Requirements: tc.req}}
		base := ""
		if tc.files != nil {
			task.Script.Repository, base = "https://host/x", repository(t, tc.files)
		}
		p, err := packagesOf(task, command{Dir: "sub", File: "run.py"}, spec.PackageManager{Type: tc.manager})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.needsCheckout() != tc.waits {
			t.Errorf("%s: waits for the checkout: %v", name, !tc.waits)
		}
		req, from, err := p.request(base)
		got := strings.Join([]string{req.Manager, req.Project.File, strings.Join(req.Requirements, "|"), strings.Join(req.CondaRequirements, "|"), map[bool]string{true: "true", false: "false"}[req.Lock != nil]}, ";")
		if want := tc.req.OrgPip; req.Lock != nil && want != nil && tc.manager == "pip" && (req.Asked == nil || req.Asked.Lock != nil || !slices.Equal(req.Asked.Requirements, want)) {
			t.Errorf("%s: the lock is of %+v", name, req.Asked)
		}
		if err != nil || got != tc.want || from != tc.from || !strings.Contains(p.refused, tc.refused) || (tc.refused == "") != (p.refused == "") {
			t.Errorf("%s: %q from %q, %v, refused %q", name, got, from, err, p.refused)
		}
	}
}

// Lines that name something of the repository wait for it.
func TestLinesOfTheRepository(t *testing.T) {
	t.Parallel()
	for line, waits := range map[string]bool{
		"-r more.txt": true, "--find-links wheels": true, "-f wheels": true, "./lib": true, "libs/one": true, "built/six-1.0-py3-none-any.whl": true,
		"six-1.0-py3-none-any.whl": true, "lib.tar.gz ": true, "a @ file:///x": true, "six==1.0": false, "a.b-c==1": false,
		"git+https://host/r.git": false, "https://host/six-1.0-py3-none-any.whl": false, "six @ https://host/six-1.0-py3-none-any.whl": false,
	} {
		p := packages{task: &clearml.Task{Script: clearml.Script{Repository: "r", Requirements: clearml.Requirements{Pip: clearml.Lines{"numpy", line}}}}}
		p.pm.Type = spec.ManagerPip
		if got := p.needsCheckout(); got != waits {
			t.Errorf("%s: waits for the repository: %t", line, got)
		}
	}
}

// A replay has its lock, or fails.
func TestReplayWithoutItsLock(t *testing.T) {
	t.Parallel()
	pip := clearml.Lines{"six==1.16.0"}
	task := &clearml.Task{Hyperparams: params(ChoiceReplay, "3f2a"), Script: clearml.Script{Requirements: clearml.Requirements{Pip: pip}}}
	if _, err := packagesOf(task, command{}, spec.PackageManager{Type: "pip"}); err == nil || !strings.Contains(err.Error(), "task 3f2a again") {
		t.Errorf("no lock: %v", err)
	}
	task.Script.Requirements.Lock = aLock(t, pip, nil, func(l *envcache.Lock) { l.File, l.SHA256 = "uv.lock", strings.Repeat("00", 32) })
	p, err := packagesOf(task, command{}, spec.PackageManager{Type: "pip"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.request(""); err == nil || !strings.Contains(err.Error(), "task 3f2a again") {
		t.Errorf("no file: %v", err)
	}
}

func TestInstalled(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("ab", 32)
	in := installed{
		Manager: "conda", Frozen: []string{"numpy==2.0", "six==1.16.0"},
		Lock: &envcache.Lock{
			Manager: "conda", Python: "3.11.7", Packages: []string{"six==1.16.0 --hash=sha256:" + sum},
			Conda: []string{"https://host/c/linux-64/numpy-base-2.0-py311_0.conda#sha256:" + sum, "https://host/c/noarch/a-1-0.tar.bz2#" + sum[:32]},
		},
	}
	pip, conda, lock, why := in.lists()
	if diff := cmp.Diff([]string{"a=1=0", "numpy-base=2.0=py311_0"}, conda); why != nil || diff != "" || !slices.Equal(pip, []string{"six==1.16.0"}) {
		t.Fatalf("%q, %v\n%s", pip, why, diff)
	}
	if _, err := LockOf(clearml.Requirements{Pip: pip, Conda: conda, Lock: clearml.Text(lock)}); err != nil {
		t.Fatal(err)
	}
	in.Manager, in.Lock.Packages = "pip", []string{"x @ file:///host/x.whl --hash=sha256:" + sum}
	if pip, _, lock, why := in.lists(); why == nil || lock != "" || !slices.Equal(pip, in.Frozen) {
		t.Fatalf("a lock that nobody takes: %q, %q, %v", pip, lock, why)
	}
	in.Lock = nil
	if pip, _, lock, why := in.lists(); why == nil || lock != "" || len(pip) != 2 {
		t.Fatalf("no lock: %q, %q, %v", pip, lock, why)
	}
	if _, _, _, why := (installed{}).lists(); why != nil {
		t.Fatalf("nothing installed: %v", why)
	}
}

// Variables of an environment reach the task, but for those that the agent sets.
func TestVariablesOfAnEnvironment(t *testing.T) {
	t.Parallel()
	env := taskEnv{
		task: "t", home: "/h", bin: []string{"/env/bin"}, venv: "", netrc: "/h/.netrc",
		variables: []string{"CONDA_PREFIX=/env", "PATH=/env/extra:", "HOME=/evil", "CLEARML_API_HOST=x", "CLEARML_API_ACCESS_KEY=k", "NETRC=/evil", "X=a=b"},
	}.build(func(string) (string, bool) { return "", false })
	text := strings.Join(env, "\n")
	for _, want := range []string{"CONDA_PREFIX=/env", "HOME=/h", "NETRC=/h/.netrc", "X=a=b"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if !strings.HasPrefix(env[0], "PATH=/env/bin:/env/extra:/usr/local/sbin:") || strings.Contains(text, "evil") || strings.Contains(text, "ACCESS_KEY") {
		t.Errorf("got\n%s", text)
	}
}

// What netrc files hold of passwords is known in the forms in which a console may
// show it.
func TestNetrcSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(file, []byte("machine a login u password hunter22\nmachine b login v password \"pass word\\\"\\\\\"\nmachine c login w password abc\ndefault login d password default-pw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := envcache.Netrc(t.Context(), file, nil, []string{"a", "c", "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	got := netrcSecrets(text + "machine b login v password \"pass word\\\"\\\\\"\n")
	for _, want := range []string{"hunter22", "dTpodW50ZXIyMg==", "default-pw", `pass word"\`} {
		if !slices.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if slices.Contains(got, "abc") {
		t.Errorf("%q holds a password of three letters", got)
	}
}

// Each git host gets its own credentials, and none gets another's.
func TestGitLogin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(file, []byte("machine git.example.com login a password pa\nmachine other.example.com\n\tlogin b\n\tpassword pb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]repo.Credentials{
		"https://git.example.com/x/y.git":     {Username: "a", Password: "pa"},
		"http://other.example.com:8080/x":     {Username: "b", Password: "pb"},
		"https://git.example.com.evil.org/x":  {},
		"https://example.com/git.example.com": {},
	} {
		if got, err := gitAccess(spec.Git{CredentialsFile: file}).Login(t.Context(), link); err != nil || got != want {
			t.Errorf("%s: %+v, %v", link, got, err)
		}
	}
}
