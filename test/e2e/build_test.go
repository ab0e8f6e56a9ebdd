package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
	"agentctl/test/imagekit"
)

// What a task runs in is had as a folder that needs the cache no more, and as an image in
// which the task's own environment is found.
func TestBuild(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	login := regexp.MustCompile(`credentialsFile: (\S+)`).FindStringSubmatch(settings)[1]
	ref := r.Push(t, "kit/debian:1", imagekit.Debian(t))
	n := boxed(t, ref, settings)
	repository := n.NewRepository(map[string]string{"sub/run.py": "import six, os\nprint('six', six.__version__, 'in', os.path.exists('/etc/debian_chroot'))\n"})
	task := n.Create(harness.Script{Change: func(todo *clearml.NewTask) {
		todo.Script = clearml.Script{
			Repository: repository.Bare, Branch: "main", EntryPoint: "run.py", WorkingDir: "sub", Binary: "python3",
			Requirements: clearml.Requirements{Pip: []string{"six==1.17.0"}},
		}
	}})

	t.Run("a folder", func(t *testing.T) {
		n.On(t)
		target := filepath.Join(n.Dir, "job")
		if out := n.Must("build", "--id", task, "--target", target); strings.TrimSpace(out) != target {
			t.Errorf("it says %q", out)
		}
		n.Must(append([]string{"cache", "rm"}, strings.Fields(n.Must("cache", "ls", "-o", "name"))...)...)
		run := exec.Command(filepath.Join(target, "venv", "bin", "python"), "run.py")
		run.Dir = filepath.Join(target, "code", "sub")
		if out, err := run.CombinedOutput(); err != nil || string(out) != "six 1.17.0 in False\n" {
			t.Errorf("it prints %q, %v", out, err)
		}
		if _, stderr, code := n.Run("build", "--id", task, "--target", target); code == 0 || !strings.Contains(stderr, "is there already") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
	t.Run("an image", func(t *testing.T) {
		n.On(t)
		if os.Geteuid() != 0 {
			t.Skip("images are made by root")
		}
		file := filepath.Join(n.Dir, "job.tar")
		digest := strings.TrimSpace(n.Must("build", "--id", task, "--docker", ref, "--entry-point", "reuse_task", "--target", "oci-archive:"+file+":job"))
		if imported := n.Must("image", "import", file, "--name", r.Host()+"/kit/imported:1"); !strings.Contains(imported, digest) {
			t.Errorf("imported %s, made was %s", imported, digest)
		}
		// Its program is the environment's, at its own path: no package is installed anew.
		shell := n.Submit(shellTask(`cd "$(dirname "$(find / -xdev -name run.py -path '*/sub/*' 2>/dev/null | head -n 1)")" && python run.py`+"\n", map[string]string{"image": r.Host() + "/kit/imported:1"}))
		n.WaitStatus(shell, clearml.StatusCompleted)
		n.WantConsole(t, shell, "six 1.17.0 in True")
		pushed := r.Host() + "/kit/job:1"
		again := strings.TrimSpace(n.Must("build", "--id", task, "--docker", ref, "--entry-point", "reuse_task", "--target", pushed, "--insecure", r.Host(), "--credentials", login))
		if again != digest {
			t.Errorf("the image is %s the second time, was %s", again, digest)
		}
		n.WaitStatus(n.Submit(shellTask("true\n", map[string]string{"image": pushed})), clearml.StatusCompleted)
	})
	if left, _ := filepath.Glob(filepath.Join(n.State, "build", "*")); left != nil {
		t.Errorf("left %q", left)
	}
	if got := n.Task(task); got.Status != clearml.StatusCreated {
		t.Errorf("the task is %s", got.Status)
	}
}
