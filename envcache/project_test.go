package envcache

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Projects of the usual build backends are imported, and found by their metadata,
// without being installed.
func TestProjectsAreImportedWithoutInstallation(t *testing.T) {
	t.Parallel()
	py := hostPython(t, SameUser)
	const scripts = "\n[project.scripts]\nsay-it = 'pkg.cli:main'\n[project.entry-points.'the.plugins']\none = 'pkg.cli'\n"
	for name, tc := range map[string]struct {
		toml, at, paths string // the package's folder; what PYTHONPATH gets
		kind            string // file of the project; "" is pyproject.toml
	}{
		"flat":           {toml: "[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: ".", paths: "."},
		"src":            {toml: "[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: "src", paths: "src"},
		"below":          {toml: "[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: "sub/src", paths: "sub/src", kind: "sub/poetry.lock"},
		"computed":       {toml: "[project]\nname = 'pkg'\ndynamic = ['version']" + scripts, at: "src", paths: "src"},
		"poetry":         {toml: "[tool.poetry]\nname = 'My.Pkg'\nversion = '1.2'\npackages = [{include = 'pkg', from = 'lib'}]\n[tool.poetry.scripts]\nsay-it = {reference = 'pkg.cli:main', type = 'console'}\nold = {reference = 'bin/old.sh', type = 'file'}\n[tool.poetry.plugins.'the.plugins']\none = 'pkg.cli'\n", at: "lib", paths: "lib"},
		"poetry, up":     {toml: "[tool.poetry]\npackages = [{include = 'pkg', from = '../lib'}]\n[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: "lib", paths: "lib", kind: "sub/pyproject.toml"},
		"uv":             {toml: "[build-system]\nbuild-backend = 'uv_build'\n[tool.uv.build-backend]\nmodule-root = 'py'\n[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: "py", paths: "py"},
		"uv at the top":  {toml: "[build-system]\nbuild-backend = 'uv_build'\n[tool.uv.build-backend]\nmodule-root = ''\n[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: ".", paths: "."},
		"setuptools":     {toml: "[tool.setuptools.package-dir]\n'' = 'python'\n[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: "python", paths: "python"},
		"setuptools 2":   {toml: "[tool.setuptools.packages.find]\nwhere = ['a', 'b', 'c']\n[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: "b", paths: "b"},
		"hatch":          {toml: "[tool.hatch.build.targets.wheel]\npackages = ['a/pkg']\n[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: "a", paths: "a"},
		"maturin":        {toml: "[tool.maturin]\npython-source = 'python'\n[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: "python", paths: "python"},
		"src is no root": {toml: "[project]\nname = 'My.Pkg'\nversion = '1.2'" + scripts, at: ".", paths: "."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo, own := filepath.Join(newState(t), "repo"), t.TempDir()
			p := Project{Kind: ProjectPoetry, File: "pyproject.toml"}
			if tc.kind != "" {
				p.File = tc.kind
			}
			files := map[string]string{
				filepath.Join(filepath.Dir(p.File), "pyproject.toml"): tc.toml,
				tc.at + "/pkg/__init__.py":                            "__version__: str = '1.2'\n",
				tc.at + "/pkg/cli.py":                                 "def main():\n    print('said')\n",
			}
			if name == "src is no root" {
				files["src/__init__.py"], files["src/other.py"] = "", ""
			}
			writeFiles(t, repo, files)
			got, err := ProjectRoots(repo, p)
			if err != nil || strings.Join(got.Paths, ":") != tc.paths {
				t.Fatalf("%+v, %v", got, err)
			}
			if err := got.WriteMetadata(own, py.Path, SameUser, SameUser); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(py.Path, "-c", `
import pkg.cli, importlib.metadata as m
points = m.entry_points()
chosen = points.select(group="the.plugins") if hasattr(points, "select") else points["the.plugins"]
print(m.version("`+got.Name+`"), [p.load().__name__ for p in chosen], len(m.files("`+got.Name+`")))`)
			cmd.Dir = own
			cmd.Env = []string{"PYTHONPATH=" + filepath.Join(repo, got.Paths[0]) + ":" + own, "PATH=" + filepath.Join(own, "bin") + ":/usr/bin:/bin"}
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != "1.2 ['pkg.cli'] 4\n" {
				t.Fatalf("%s, %v", out, err)
			}
			script := exec.Command("/bin/sh", "-c", "say-it")
			script.Dir, script.Env = own, cmd.Env
			if out, err := script.CombinedOutput(); err != nil || string(out) != "said\n" {
				t.Fatalf("the script: %s, %v", out, err)
			}
		})
	}
}

// What a repository may put into the way of the agent.
func TestHostileProjects(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	writeFiles(t, outside, map[string]string{"pyproject.toml": "[project]\nname = 'outside'\n", "pkg.py": ""})
	for name, tc := range map[string]struct {
		toml string
		make func(repo string) error
		says string
		want ProjectPaths
	}{
		"not TOML":  {toml: "[project\n", says: "pyproject.toml is not valid: line 1"},
		"too large": {toml: "# " + strings.Repeat("x", mostPyproject), says: "longer than"},
		"a link out": {make: func(repo string) error {
			return os.Symlink(filepath.Join(outside, "pyproject.toml"), filepath.Join(repo, "pyproject.toml"))
		}, says: "escapes"},
		"a FIFO":          {make: func(repo string) error { return syscall.Mkfifo(filepath.Join(repo, "pyproject.toml"), 0o600) }, says: "no regular file"},
		"no file":         {says: "no such file"},
		"sources outside": {toml: "[tool.poetry]\npackages = [{from = '../../..'}, {from = '/etc'}, {from = 'out'}]\n", want: ProjectPaths{Paths: []string{"."}}},
		"other types":     {toml: "project = 3\n[tool]\npoetry = ['x']\nsetuptools = {packages = ['a'], package-dir = 'x'}\n", want: ProjectPaths{Paths: []string{"."}}},
		"names":           {toml: "[project]\nname = '../../x'\nversion = '1'\n", want: ProjectPaths{Paths: []string{"."}}},
		"a version": {toml: "[project]\nname = 'x'\nversion = '../1'\n[project.scripts]\n'../up' = 'a:b'\nok = \"a:b\\nimport os\"\n'a\\nb' = 'a:b'\n", want: ProjectPaths{
			Paths: []string{"."}, Name: "x", Version: "0", EntryPoints: map[string]map[string]string{},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := filepath.Join(newState(t), "repo")
			writeFiles(t, repo, map[string]string{"readme": ""})
			if err := os.Symlink(outside, filepath.Join(repo, "out")); err != nil {
				t.Fatal(err)
			}
			if tc.toml != "" {
				writeFiles(t, repo, map[string]string{"pyproject.toml": tc.toml})
			}
			if tc.make != nil {
				if err := tc.make(repo); err != nil {
					t.Fatal(err)
				}
			}
			got, err := ProjectRoots(repo, Project{File: "pyproject.toml"})
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("err = %v", err)
				}
				return
			}
			if err != nil || !slices.Equal(got.Paths, tc.want.Paths) || got.Name != tc.want.Name || got.Version != tc.want.Version || len(got.EntryPoints) != 0 {
				t.Fatalf("%+v, %v", got, err)
			}
		})
	}
	if _, err := ProjectRoots(outside, Project{File: "../" + filepath.Base(outside) + "/poetry.lock"}); err == nil {
		t.Error("a project above the repository was read")
	}
	if _, err := ProjectRoots(filepath.Join(outside, "gone"), Project{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

func FuzzProject(f *testing.F) {
	f.Add("[project]\nname = 'x'\nversion = '1'\n[project.scripts]\na = 'b:c'\n")
	f.Add("[tool.poetry]\npackages = [{include = 'x', from = 'src'}]\n[tool.poetry.scripts]\na = {callable = 'b:c'}\n")
	f.Add("[tool.hatch.build]\nsources = ['a', 'b']\n[tool.setuptools.package-dir]\n'' = '..'\n")
	repo, own := f.TempDir(), f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(repo, "pyproject.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := ProjectRoots(repo, Project{File: "pyproject.toml"})
		if err != nil {
			return
		}
		for _, dir := range p.Paths {
			if !filepath.IsLocal(dir) {
				t.Fatalf("path %q", dir)
			}
		}
		if p.Name != "" && (!plain(p.Name) || !versionShape.MatchString(p.Version)) {
			t.Fatalf("%+v", p)
		}
		if err := p.WriteMetadata(own, "/usr/bin/python3", SameUser, SameUser); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	})
}
