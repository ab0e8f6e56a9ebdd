package envcache

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const header = "#!/usr/bin/env python3\n# /// script\n# requires-python = \">=3.9\"\n# dependencies = [\n#   \"six<2\",\n# ]\n# ///\nimport six\n"

func TestDetect(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	writeFiles(t, base, map[string]string{
		"all/poetry.lock": "", "all/pyproject.toml": "[project]\nname = \"x\"\n", "all/uv.lock": "", "all/environment.yml": "", "all/pylock.toml": "",
		"all/run.py": header, "all/plain.py": "print()\n", "all/deep/er/x.py": "",
		"lockless/poetry.lock": "", "lockless/uv.lock": "", "lockless/environment.yaml": "",
		"uv/uv.lock": "", "uv/pyproject.toml": "", "named/pylock.prod.toml": "", "two/pylock.a.toml": "", "two/pylock.b.toml": "",
		"poetry/pyproject.toml": "[tool.poetry]\n", "other/pyproject.toml": "[tool.ruff]\n", "none/requirements.txt": "six\n",
	})
	top := map[string]string{"uv.lock": "", "pyproject.toml": "[project]\nname = \"top\"\n"}
	for _, tc := range []struct {
		dir, script, manager string
		project              Project
		got                  string
		root                 bool
	}{
		{"all", "plain.py", "auto", Project{ProjectPoetry, "all/poetry.lock"}, ManagerPoetry, false},
		{"all", "run.py", "auto", Project{ProjectScript, "all/run.py"}, ManagerUV, false},
		{"all/deep/er", "x.py", "auto", Project{ProjectPoetry, "all/poetry.lock"}, ManagerPoetry, false},
		{"all/deep", "../run.py", "auto", Project{ProjectScript, "all/run.py"}, ManagerUV, false},
		{"all", "../../run.py", "uv", Project{ProjectUV, "all/uv.lock"}, ManagerUV, false},
		{"all", "run.py", "uv", Project{ProjectScript, "all/run.py"}, ManagerUV, false},
		{"all", "run.py", "poetry", Project{ProjectPoetry, "all/poetry.lock"}, ManagerPoetry, false},
		{"all", "run.py", "conda", Project{ProjectConda, "all/environment.yml"}, ManagerConda, false},
		{"all", "run.py", "pip", Project{}, ManagerPip, false},
		{"all", "run.py", "", Project{}, ManagerPip, false},
		{"lockless", "", "auto", Project{ProjectConda, "lockless/environment.yaml"}, ManagerConda, false},
		{"lockless", "", "uv", Project{}, ManagerUV, false},
		{"uv", "-m pkg", "auto", Project{ProjectUV, "uv/uv.lock"}, ManagerUV, false},
		{"named", "", "auto", Project{ProjectPylock, "named/pylock.prod.toml"}, ManagerUV, false},
		{"two", "", "auto", Project{}, ManagerPip, false},
		{"poetry", "", "poetry", Project{ProjectPoetry, "poetry/pyproject.toml"}, ManagerPoetry, false},
		{"poetry", "", "auto", Project{}, ManagerPip, false},
		{"other", "", "poetry", Project{}, ManagerPoetry, false},
		{"none", "", "auto", Project{}, ManagerPip, false},
		{"not/there", "", "auto", Project{}, ManagerPip, false},
		{".", "", "auto", Project{}, ManagerPip, false},
		{"", "", "auto", Project{}, ManagerPip, false},
		{"all/deep", "", "uv", Project{ProjectUV, "uv.lock"}, ManagerUV, true},
		{"all/deep", "", "poetry", Project{ProjectPoetry, "pyproject.toml"}, ManagerPoetry, true},
		{"all", "run.py", "uv", Project{ProjectScript, "all/run.py"}, ManagerUV, true},
	} {
		if tc.root { // the last ones
			writeFiles(t, base, top)
		}
		p, m, err := Detect(base, tc.dir, tc.script, tc.manager, tc.root)
		if err != nil || p != tc.project || m != tc.got {
			t.Errorf("%+v: %+v, %q, %v", tc, p, m, err)
		}
	}
}

// What a repository can put in the way is refused, not followed.
func TestDetectInAHostileRepository(t *testing.T) {
	t.Parallel()
	base, outside := t.TempDir(), t.TempDir()
	writeFiles(t, outside, map[string]string{"environment.yml": "", "pyproject.toml": "[project]\n"})
	writeFiles(t, base, map[string]string{"broken/pyproject.toml": "[", "x/y": ""})
	for name, target := range map[string]string{"environment.yml": outside + "/environment.yml", "far": outside} {
		if err := os.Symlink(target, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(base, "folder", "environment.yml"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range [][2]string{
		{".", "auto"}, {"far", "conda"}, {"far", "poetry"}, {"folder", "auto"}, {"..", "auto"}, {"/", "auto"}, {"x/../..", "uv"}, {"broken", "poetry"},
	} {
		if p, _, err := Detect(base, tc[0], "x.py", tc[1], false); err == nil {
			t.Errorf("%q: found %+v", tc, p)
		}
	}
	if _, _, err := Detect(filepath.Join(base, "nothing"), ".", "", "auto", false); err == nil {
		t.Error("no repository, and no error")
	}
}

func TestScriptHeaders(t *testing.T) {
	t.Parallel()
	block := func(text string) string {
		return "# /// script\n# " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n# ") + "\n# ///\n"
	}
	for text, want := range map[string][]string{
		header:                                   {"six<2"},
		strings.ReplaceAll(header, "\n", "\r\n"): {"six<2"},
		block("dependencies = []"):               nil,
		"# /// other\n# x\n# ///\n" + header:     {"six<2"},
		block("dependencies = [\"a-b[x]>1; python_version > '3'\", \"c\"]\n[tool.uv.sources]\nA_B = { git = \"https://h/r\", tag = \"v1\", subdirectory = \"s\" }\nc = { index = \"i\" }\n[[tool.uv.index]]\nname = \"i\"\nurl = \"https://h/simple\"\n[[tool.uv.index]]\nurl = \"https://d\"\ndefault = true"): {
			"--index-url https://d", "--extra-index-url https://h/simple", "a-b[x] @ git+https://h/r@v1#subdirectory=s ;python_version > \"3\"", "c",
		},
		block("dependencies = [\"c\"]\n[tool.uv.sources]\nc = { url = \"https://h/c.whl\" }"): {"c @ https://h/c.whl"},
	} {
		h, err := parseHeader([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got, err := h.lines(); err != nil || !slices.Equal(got, want) || !hasHeader([]byte(text)) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"import six\n", header + header, "# /// script\n# dependencies = [\n# ///\n", "# /// script\n# x = 1\nimport six\n",
		block("dependencies = [\"-e .\"]"), block("dependencies = [\"a\\n-r x\"]"), block("dependencies = 1"),
		block("[tool.uv]\noverride-dependencies = []"), block("[tool.uv]\nindex = 1"), block("[[tool.uv.index]]\nname = \"x\""),
		block("[tool.uv.sources]\na = { path = \"../x\" }"), block("[tool.uv.sources]\na = [{ url = \"x\" }]"), block("[tool.uv]\nsources = 1"),
		block("[tool.uv.sources]\na = { git = \"https://h/r\", lfs = true }"), block("[tool.uv.sources]\na = { url = \"https://h/r -r x\" }"),
	} {
		h, err := parseHeader([]byte(text))
		if err == nil {
			_, err = h.lines()
		}
		if err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzScriptHeader(f *testing.F) {
	f.Add(header)
	f.Add("# /// script\n# [tool.uv.sources]\n# a = { git = \"x\" }\n# ///\n")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHeader([]byte(text))
		if err != nil {
			return
		}
		if !hasHeader([]byte(strings.ReplaceAll(text, "\r\n", "\n"))) {
			t.Fatal("a header that is not seen")
		}
		lines, _ := h.lines()
		for _, l := range lines {
			if strings.ContainsAny(l, "\n\r") {
				t.Fatalf("%q", l)
			}
		}
	})
}

func TestSpecifiersOfPython(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]bool{
		"": true, ">=3.9": true, ">=3.11.7": true, ">=3.12": false, "<3.12": true, "<3.11": false, ">3.11.7": false, ">3.11.6,<4": true,
		"==3.11.*": true, "==3.11": false, "==3.11.7": true, "!=3.11.*": false, "!=3.11.7": false, "!=3.10": true, "~=3.11": true, "~=3.11.8": false, "~=3.11.2": true,
		"~=3.10.0": false, "~=3.9": true, "<=3.11": false, "<=3.11.7.0": true, "===3.11.7": true, ">=3.9, <3.12": true, ">=3.12rc1": false, ">=2.7,!=3.0.*": true, "==3.*": true,
	} {
		if got, err := satisfies("3.11.7", spec); err != nil || got != want {
			t.Errorf("%q: %v, %v", spec, got, err)
		}
	}
	for _, spec := range []string{"3.11", ">=", "~=3", ">=3.*", "==x", ">=1!3", "=>3.9", "==3.11.*.*"} {
		if _, err := satisfies("3.11.7", spec); err == nil {
			t.Errorf("%q is taken", spec)
		}
	}
}

func FuzzSpecifier(f *testing.F) {
	f.Add("3.11.7", ">=3.9,<4,!=3.10.*,~=3.8")
	f.Fuzz(func(_ *testing.T, version, spec string) { _, _ = satisfies(version, spec) })
}
