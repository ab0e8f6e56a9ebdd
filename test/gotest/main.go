// Command gotest runs `go test` over packages and is strict where go test is not:
// a skipped test fails the run unless test/skips.txt names it with a reason.
//
// Packages run with the race detector and in shuffled order; those below test/
// start the real programs or the real SDK, so they run once without it, after the
// others. Modules of their own below test/ come last. The closing line of each package is
// go test's own.
//
//	go run ./test/gotest [-tags T] [-run R] [-count N] [packages…]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// options of one run.
type options struct {
	tags, run, count, timeout, skips string
	packages                         []string
}

func main() {
	var o options
	flag.StringVar(&o.tags, "tags", "", "build tags, for go test")
	flag.StringVar(&o.run, "run", "", "tests to run, for go test")
	flag.StringVar(&o.count, "count", "", "runs of each test, for go test")
	flag.StringVar(&o.timeout, "timeout", "10m", "longest time of one package, for go test")
	flag.StringVar(&o.skips, "skips", filepath.Join("test", "skips.txt"), "tests that may be skipped, with reasons")
	flag.Parse()
	o.packages = flag.Args()
	if len(o.packages) == 0 {
		o.packages = everything
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run tests all packages and prints the summary; false: something failed.
func run(ctx context.Context, o options) (bool, error) {
	allowed, err := readSkips(o.skips)
	if err != nil {
		return false, err
	}
	units, whole, err := list(ctx, o)
	if err != nil {
		return false, err
	}
	total := newReport(os.Stdout)
	if len(units) > 0 {
		if err := goTest(ctx, o, total, ".", units, "-race", "-shuffle=on"); err != nil {
			return false, err
		}
	}
	if len(whole) > 0 {
		// -trimpath as in the build of the programs: their packages are compiled once.
		if err := goTest(ctx, o, total, ".", whole, "-p=2", "-trimpath"); err != nil {
			return false, err
		}
	}
	for _, module := range modules(o) {
		if err := goTest(ctx, o, total, module, []string{"./..."}); err != nil {
			return false, err
		}
	}
	return total.close(allowed), nil
}

// modules are the folders of the modules below test/, whose needs are none of the
// program's. They are tested when everything is.
func modules(o options) []string {
	if !slices.Equal(o.packages, everything) {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join("test", "*", "go.mod")) // the pattern is well-formed
	for i, file := range files {
		files[i] = filepath.Dir(file)
	}
	return files
}

// everything is what is tested unless packages are named.
var everything = []string{"./..."}

// list resolves the packages: those tested with the race detector, those without.
func list(ctx context.Context, o options) (units, whole []string, err error) {
	args := append([]string{"list", "-tags", o.tags, "-f", "{{.ImportPath}}\t{{.Module.Path}}"}, o.packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list packages: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		path, module, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(path, module+"/test/") {
			whole = append(whole, path)
		} else {
			units = append(units, path)
		}
	}
	return units, whole, nil
}

// goTest runs go test once, in the module of a folder, and feeds its events to rep. A
// failed test is no error: the report holds it.
func goTest(ctx context.Context, o options, rep *report, folder string, packages []string, flags ...string) error {
	args := append([]string{"test", "-json", "-timeout=" + o.timeout, "-tags=" + o.tags}, flags...)
	if o.run != "" {
		args = append(args, "-run="+o.run)
	}
	if o.count != "" {
		args = append(args, "-count="+o.count)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = folder
	// go test passes SIGINT on to its children and waits; a killed one would orphan them.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("cannot run go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot run go test: %w", err)
	}
	readErr := rep.read(out)
	if err := cmd.Wait(); err != nil && rep.failed == 0 {
		return fmt.Errorf("go test ended with %w, but no test failed", err)
	}
	return readErr
}
