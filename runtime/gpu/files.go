package gpu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	"agentctl/runtime"

	"github.com/samber/lo"
)

// Folder is where a sandbox finds the driver's libraries. Images made for CUDA have it
// on their paths; it is nobody else's, so that nothing of the image is covered.
const Folder = "/usr/local/nvidia/lib64"

// files are the driver's libraries and programs, as mounts.
type files []runtime.Mount

// libraries are those by which programs compute, watch a GPU, and decode video. None of
// them is for graphics. Without its fatbinaryloader libcuda of an old driver can't be
// loaded at all.
var libraries = regexp.MustCompile(`^lib(cuda|cudadebugger|nvcuvid|nvidia-(ml|cfg|opencl|ptxjitcompiler|fatbinaryloader|nvvm(70)?|gpucomp|allocator|compiler|pkcs11(-openssl3)?|sandboxutils|tileiras|encode|opticalflow))\.so(\.[0-9]+)*$`)

// programs are shown at /usr/bin.
var programs = []string{"nvidia-smi", "nvidia-debugdump"}

// ldconfig lists what the dynamic linker finds.
func ldconfig(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for _, program := range []string{"/sbin/ldconfig", "/usr/sbin/ldconfig"} { // on no user's PATH
		var out []byte
		if out, err = exec.CommandContext(ctx, program, "-p").Output(); err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("cannot list the libraries of this machine: %w", err)
}

// linkerTags mark libraries of this program's architecture in a list of ldconfig.
var linkerTags = map[string]string{"amd64": "x86-64", "arm64": "AArch64"}

// parseLibraries picks the driver's libraries from a list of ldconfig: their names with
// their paths. Of one name the linker takes the first.
func parseLibraries(list []byte, arch string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(string(list)) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), " (")
		kind, path, arrow := strings.Cut(rest, ") => ")
		if !ok || !arrow || !libraries.MatchString(name) || !filepath.IsAbs(path) {
			continue
		}
		if tags := strings.Split(kind, ","); !lo.ContainsBy(tags, func(tag string) bool { return strings.TrimSpace(tag) == linkerTags[arch] }) {
			continue
		}
		if _, there := found[name]; !there {
			found[name] = path
		}
	}
	return found
}

// sources reads what sandboxes need besides device nodes, and again when the driver or
// the specifications have changed.
type sources struct {
	opts   Options
	driver string
	files  files
	cdi    *cdi
	stamps string
	failed string // why there is no list of libraries, as it was told last
}

func (s *sources) libraries(ctx context.Context, driver string) files {
	if driver != s.driver || s.files == nil {
		s.files, s.driver = s.driverFiles(ctx), driver
	}
	return s.files
}

func (s *sources) specifications(driver string) *cdi {
	stamps := driver + "\n" + stampsOf(s.opts.CDI) // they name files of one version of it
	if s.cdi != nil && stamps == s.stamps {
		return s.cdi
	}
	was := s.cdi
	s.cdi, s.stamps = readCDI(s.opts.CDI), stamps
	if p := s.cdi.problem; p != "" && (was == nil || was.problem != p) {
		s.opts.Log.Warn("a CDI specification can't be used", "problem", p)
	}
	return s.cdi
}

func (s *sources) driverFiles(ctx context.Context) files {
	list, err := s.opts.Libraries(ctx)
	if err != nil {
		if s.failed != err.Error() && ctx.Err() == nil { // it is tried again at each look
			s.failed = err.Error()
			s.opts.Log.Warn("sandboxes get no libraries of the driver", "error", err)
		}
		return nil
	}
	found := parseLibraries(list, goruntime.GOARCH)
	out := files{}
	for _, name := range lo.Keys(found) {
		// What is mounted is the file: links could be led elsewhere between now and then.
		if real, err := filepath.EvalSymlinks(found[name]); err == nil {
			out = append(out, runtime.Mount{Source: real, Target: filepath.Join(Folder, name), ReadOnly: true})
		}
	}
	for _, name := range programs {
		if real, err := filepath.EvalSymlinks(filepath.Join("/usr/bin", name)); err == nil {
			out = append(out, runtime.Mount{Source: real, Target: filepath.Join("/usr/bin", name), ReadOnly: true})
		}
	}
	slices.SortFunc(out, func(a, b runtime.Mount) int { return strings.Compare(a.Target, b.Target) })
	return out
}

// stampsOf tells whether something in folders has changed.
func stampsOf(folders []string) string {
	var b strings.Builder
	for _, folder := range folders {
		entries, _ := os.ReadDir(folder) // most machines have none
		for _, e := range entries {
			// Of a link what it leads to: that may be written anew in its place.
			if info, err := os.Stat(filepath.Join(folder, e.Name())); err == nil {
				fmt.Fprintln(&b, folder, e.Name(), info.Size(), info.ModTime().Format(time.RFC3339Nano))
			}
		}
	}
	return b.String()
}
