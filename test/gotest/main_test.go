package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// events of a go test run: a pass, a skip, a failure, a package without a test.
const events = `{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestOS","Output":"    a_test.go:3: needs root\n"}
{"Action":"skip","Package":"m/a","Test":"TestOS"}
{"Action":"output","Package":"m/a","Output":"PASS\n"}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.1s\n"}
{"Action":"pass","Package":"m/a"}
{"Action":"output","Package":"m/none","Output":"?   \tm/none\t[no test files]\n"}
{"Action":"skip","Package":"m/none"}
`

const failure = `{"Action":"output","Package":"m/b","Test":"TestBad","Output":"    b_test.go:9: broken\n"}
{"Action":"fail","Package":"m/b","Test":"TestBad"}
{"Action":"output","Package":"m/b","Output":"FAIL\tm/b\t0.2s\n"}
{"Action":"fail","Package":"m/b"}
`

func summary(t *testing.T, events string, allowed map[string]string) (string, bool) {
	t.Helper()
	var out strings.Builder
	rep := newReport(&out)
	if err := rep.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	ok := rep.close(allowed)
	return out.String(), ok
}

func TestSkipNeedsAReason(t *testing.T) {
	out, ok := summary(t, events, nil)
	if ok || !strings.Contains(out, "SKIPPED: m/a TestOS: a_test.go:3: needs root") {
		t.Errorf("an unlisted skip passed, or was not told:\n%s", out)
	}
	out, ok = summary(t, events, map[string]string{"m/a TestOS": "no root in CI"})
	if !ok || !strings.Contains(out, "1 passed, 0 failed, 1 skipped\n") {
		t.Errorf("a listed skip failed the run:\n%s", out)
	}
}

func TestAnEntryCoversItsSubtests(t *testing.T) {
	text := strings.ReplaceAll(events, "TestOS", "TestOS/linux")
	if out, ok := summary(t, text, map[string]string{"m/a TestOS": "no root in CI"}); !ok {
		t.Errorf("the skip of a subtest failed the run:\n%s", out)
	}
}

func TestClosingLinesAreGoTestsOwn(t *testing.T) {
	out, ok := summary(t, events+failure, map[string]string{"m/a TestOS": "no root in CI"})
	if ok {
		t.Error("a failed test passed")
	}
	for _, want := range []string{"ok  \tm/a\t0.1s\n", "?   \tm/none\t", "    b_test.go:9: broken\n", "FAIL\tm/b\t0.2s\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "=== RUN") {
		t.Errorf("what passes is not silent:\n%s", out)
	}
}

func TestReadSkips(t *testing.T) {
	path := filepath.Join(t.TempDir(), "skips.txt")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# why\n\nm/a TestOS  needs a kernel with X\n")
	allowed, err := readSkips(path)
	if err != nil || allowed["m/a TestOS"] != "needs a kernel with X" {
		t.Errorf("readSkips = %v, %v", allowed, err)
	}
	write("m/a TestOS\n")
	if _, err := readSkips(path); err == nil {
		t.Error("a skip without a reason was accepted")
	}
}
