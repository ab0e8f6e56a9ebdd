package envcache

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// compileHere runs the compiler on all cores over a folder.
func compileHere(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), hostPython(t, SameUser).Path, "-I", "-W", "ignore", "-c", compileScript, "0", dir).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Bytecode is what Python itself would write and takes as valid, for all that
// compiles; nothing else is touched, and only what is missing or cut short is made.
func TestBytecodeIsPythons(t *testing.T) {
	t.Parallel()
	top, outside := t.TempDir(), t.TempDir()
	long := "x = 1\n" + strings.Repeat("def f():\n    return 'a text of some length'\n", 3000)
	for name, text := range map[string]string{
		"good.py": long, "deep/er/good.py": "y = 2\n" + long, "template.py": "def {{ name }}():\n", "latin.py": "s = '\xe9'\n", "zero.py": "\x00",
		"empty.py": "", "data.txt": "x", "nested.py": strings.Repeat("(", 3000) + strings.Repeat(")", 3000),
	} {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "far.py"), []byte("z = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	compileHere(t, top)
	// Few sources are compiled in another way than many.
	many := t.TempDir()
	for i := range 3 {
		text := strings.Repeat("# a comment of some length\n", 80000) + "x = " + strconv.Itoa(i) + "\n"
		if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("m%d.py", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	compileHere(t, many)
	if made, err := filepath.Glob(filepath.Join(many, "__pycache__", "*.pyc")); err != nil || len(made) != 3 {
		t.Errorf("of many: %q, %v", made, err)
	}
	python(t, hostPython(t, SameUser).Path, "-B", "-c", "import os, sys; sys.path.insert(0, sys.argv[1]); import m2; assert m2.x == 2", many)
	check := `import compileall, glob, os, sys
os.chdir(sys.argv[1])
made = sorted(glob.glob("**/*.pyc", recursive=True))
assert [m.split(".")[0] for m in made] == ["__pycache__/empty", "__pycache__/good", "deep/er/__pycache__/good"], made
times = [os.stat(m).st_mtime_ns for m in made]
compileall.compile_dir(".", quiet=2, rx=__import__("re").compile("template|latin|zero|nested"))
assert times == [os.stat(m).st_mtime_ns for m in made], "Python does not take it as valid"
sys.path.insert(0, "deep/er")
import good
assert good.f() and good.__cached__.endswith(".pyc") and not os.path.exists("link/__pycache__")
assert os.stat(made[1]).st_mode & 0o777 == 0o640, oct(os.stat(made[1]).st_mode)
print(os.path.realpath(made[1]))`
	pyc := python(t, hostPython(t, SameUser).Path, "-c", check, top)
	whole, err := os.ReadFile(pyc)
	if err != nil {
		t.Fatal(err)
	}
	hourAgo := time.Now().Add(-time.Hour)
	other := filepath.Join(top, "deep/er/__pycache__", filepath.Base(pyc))
	if err := os.Chtimes(other, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	// What a compiler that was killed leaves: the code without its header.
	if err := os.WriteFile(pyc, append(make([]byte, 16), whole[16:1000]...), 0o600); err != nil {
		t.Fatal(err)
	}
	compileHere(t, top)
	again, err := os.ReadFile(pyc)
	if err != nil || !bytes.Equal(again[:16], whole[:16]) || len(again) != len(whole) {
		t.Errorf("what was cut short is %d bytes now, not %d: %v", len(again), len(whole), err)
	}
	if info, err := os.Stat(other); err != nil || !info.ModTime().Equal(hourAgo) {
		t.Errorf("what was there was made anew: %v, %v", info.ModTime(), err)
	}
}
