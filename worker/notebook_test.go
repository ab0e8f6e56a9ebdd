package worker

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func notebookOf(t testing.TB, cells ...string) []byte {
	t.Helper()
	list := []map[string]any{{"cell_type": "markdown", "source": []string{"# raise SystemExit\n"}}}
	for _, c := range cells {
		list = append(list, map[string]any{"cell_type": "code", "source": strings.SplitAfter(c, "\n"), "outputs": []any{map[string]any{"text": "x"}}})
	}
	data, err := json.Marshal(map[string]any{"cells": list, "nbformat": 4, "metadata": map[string]any{"language_info": map[string]any{"name": "python"}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestNotebook: the code of the cells, without what only IPython understands.
func TestNotebook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cell, want string
		left       int
	}{
		"code":             {"a = 1\nprint(a)", "a = 1\nprint(a)\n", 0},
		"line magic":       {"%matplotlib inline\nx = 1", "pass  # %matplotlib inline\nx = 1\n", 1},
		"in a block":       {"if x:\n    !pip install y\nz = 2", "if x:\n    pass  # !pip install y\nz = 2\n", 1},
		"result":           {"files = !ls\nt = %time f()", "pass  # files = !ls\npass  # t = %time f()\n", 2},
		"help":             {"f?\n??g.h\nx = 1", "pass  # f?\npass  # ??g.h\nx = 1\n", 2},
		"operators":        {"y = (5\n % 3)\nz = 7 \\\n % 4\nif a != b: pass\nq = a %b", "y = (5\n % 3)\nz = 7 \\\n % 4\nif a != b: pass\nq = a %b\n", 0},
		"texts":            {"q = '''\n%s\n!x\n'''\nr = \"a\\\n%b\"\ns = '# \\' (' # [\n%env", "q = '''\n%s\n!x\n'''\nr = \"a\\\n%b\"\ns = '# \\' (' # [\npass  # %env\n", 1},
		"timed":            {"%time x = f()\n    %timeit -n 3 g()", "x = f()\n    pass  # %timeit -n 3 g()\n", 2},
		"cell magic":       {"%%bash\nls\n\npwd", "# %%bash\n# ls\n# \n# pwd", 1},
		"timed cell":       {"%%time\n!ls\nx = 1", "# %%time\npass  # !ls\nx = 1\n", 2},
		"shell goes on":    {"if x:\n    !pip install \\\n        y \\\n        z\nx = 1", "if x:\n    pass  # !pip install \\\n#         y \\\n#         z\nx = 1\n", 1},
		"not Python's":     {"!echo :(\n%matplotlib\nx = 1", "pass  # !echo :(\npass  # %matplotlib\nx = 1\n", 2},
		"get_ipython":      {"get_ipython().run_line_magic('x', '')", "pass  # get_ipython().run_line_magic('x', '')\n", 1},
		"windows":          {"a = 1\r\n%x\r\n", "a = 1\npass  # %x\n", 1},
		"nothing":          {"", "", 0},
		"decorator, async": {"@d\nasync def f():\n  await g()", "@d\nasync def f():\n  await g()\n", 0},
	} {
		got, left := plain(c.cell)
		if diff := cmp.Diff(c.want, got); diff != "" || left != c.left {
			t.Errorf("%s: %d left out (-want +got)\n%s", name, left, diff)
		}
	}
}

// TestNotebookRuns: what comes out is a program of Python.
func TestNotebookRuns(t *testing.T) {
	t.Parallel()
	text, left, err := program(notebookOf(t, "%matplotlib inline\nx = '''\n%s\n''' % 2", "%%bash\nexit 1", "for i in range(2):\n    !false\ndisplay(x.strip(), i)"))
	if err != nil || left != 3 {
		t.Fatal(left, err)
	}
	out, err := exec.Command("python3", "-c", text).CombinedOutput()
	if string(out) != "2 1\n" {
		t.Errorf("%s, %v\n%s", out, err, text)
	}
}

func TestNotebookRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":               "no notebook",
		"print(1)":       "no notebook",
		`{"cells": "x"}`: "no notebook",
		`{"cells": [1]}`: "no notebook",
		`{"metadata": {"language_info": {"name": "R"}}}`:      `of "R"`,
		`{"metadata": {"kernelspec": {"language": "julia"}}}`: `of "julia"`,
	} {
		if _, _, err := program([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	old := `{"worksheets": [{"cells": [{"cell_type": "code", "input": ["a = 1\n", "b = 2"]}]}]}`
	if text, _, err := program([]byte(old)); err != nil || !strings.Contains(text, "a = 1\nb = 2\n") {
		t.Errorf("%s, %v", text, err)
	}
}

func FuzzNotebook(f *testing.F) {
	f.Add(notebookOf(f, "%x\na = '''\n%y'''", "%%time\n!z"))
	f.Add([]byte(`{"worksheets": [{"cells": [{"cell_type": "code", "input": "a\\"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, left, err := program(data)
		if err == nil && (left < 0 || !strings.HasPrefix(text, "# coding")) {
			t.Errorf("%q", text)
		}
	})
}

// TestAfterFuture: Python wants imports from __future__ before all else.
func TestAfterFuture(t *testing.T) {
	t.Parallel()
	const head = "from clearml import Task\n(__name__ != \"__main__\") or Task.init()\n"
	for name, c := range map[string]struct{ script, want string }{
		"none":           {"import os\n", ""},
		"plain":          {"from __future__ import annotations\nimport os\n", "from __future__ import annotations\n" + head + "import os\n"},
		"after a text":   {"# c\n'''doc\nfrom __future__ import x\n'''\n\nfrom __future__ import annotations\n", "# c\n'''doc\nfrom __future__ import x\n'''\n\nfrom __future__ import annotations\n" + head},
		"only in a text": {"'''\nfrom __future__ import x\n'''\nimport os\n", ""},
		"brackets, two": {
			"from __future__ import (\n  annotations, # )\n  division,\n)\nfrom __future__ import generators\nx = 1\nfrom __future__ import y",
			"from __future__ import (\n  annotations, # )\n  division,\n)\nfrom __future__ import generators\n" + head + "x = 1\nfrom __future__ import y\n",
		},
		"backslash": {"from __future__ import \\\n  annotations\nx = 1", "from __future__ import \\\n  annotations\n" + head + "x = 1\n"},
		"windows":   {"from __future__ import annotations\r\nx = 1\r\n", "from __future__ import annotations\r\n" + head + "x = 1\r\n"},
		"no script": {"", ""},
	} {
		got, changed := afterFuture(head + c.script)
		if changed != (c.want != "") || changed && got != c.want {
			t.Errorf("%s: %v\n%s", name, changed, cmp.Diff(c.want, got))
		}
	}
	if _, changed := afterFuture("from __future__ import annotations\nfrom clearml import Task\nTask.init()\n"); changed {
		t.Error("a script of one's own is changed")
	}
}
