package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hostConfig runs a script in a sandbox whose root is the host's.
func hostConfig(t *testing.T, script string) Config {
	t.Helper()
	cfg := boxConfig(t, script)
	cfg.Sandbox.Host, cfg.Sandbox.Layers = true, nil
	cfg.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	return cfg
}

// What a task can read of the host, of what is nobody's business, is nothing: all
// that it can read lies in the folders of programs and public settings.
func TestHostImageShowsPrograms(t *testing.T) {
	state := newDir(t)
	must(t, os.WriteFile(state+"/secret", []byte(canary), 0o666))
	must(t, os.WriteFile("/tmp/"+filepath.Base(state), []byte(canary), 0o666))
	defer os.Remove("/tmp/" + filepath.Base(state))
	cfg := hostConfig(t, `id -u; for f in /etc/shadow /etc/gshadow /etc/sudoers /root /home /run /tmp /var/tmp "$0"; do [ -d $f ] && ls -A $f; [ -f $f ] && cat $f; done 2>/dev/null
		find / -xdev -newer /nothing 2>/dev/null
		for d in / /etc /usr /usr/bin /var /opt "$0"; do touch $d/new 2>/dev/null && echo wrote $d; done; touch /tmp/x /var/tmp/x && echo tmp
		ls /dev | grep -v -E '^(null|zero|full|random|urandom|tty|ptmx|pts|shm|mqueue|fd|core|stdin|stdout|stderr|console)$'; true`)
	cfg.Hide = []string{state}
	cfg.Args = append(cfg.Args, state)
	exit, out := runToEnd(t, cfg)
	if want := "0\ntmp\n"; exit.Code != 0 || out[StreamStdout] != want {
		t.Errorf("%+v, wrote %q, want %q", exit, out, want)
	}
}

// Every file that a task can read is printed by its folder, and none is outside
// of those that all users of the host may read.
func TestWhatATaskReadsOfTheHost(t *testing.T) {
	cfg := hostConfig(t, `find / -mindepth 1 -maxdepth 1 | sort | tr '\n' ' '; echo; find / \( -path /proc -o -path /sys -o -path /dev -o -path /usr \) -prune -o -type f -readable -print 2>/dev/null`)
	exit, out := runToEnd(t, cfg)
	if exit.Code != 0 {
		t.Logf("%+v %s", exit, out[StreamStderr])
	}
	top, files, _ := strings.Cut(out[StreamStdout], "\n")
	count := map[string]int{}
	for file := range strings.Lines(files) {
		file = strings.TrimSpace(file)
		st, err := os.Stat(file)
		if err != nil || st.Mode().Perm()&4 == 0 {
			t.Errorf("%s is readable in the sandbox: %v on the host, %v", file, st, err)
		}
		for _, hidden := range []string{"/root/", "/home/", "/run/", "/tmp/", "/var/tmp/"} {
			if strings.HasPrefix(file, hidden) {
				t.Errorf("%s is shown", file)
			}
		}
		count[strings.Join(strings.SplitAfterN(file, "/", 3)[:2], "")]++
	}
	if count["/etc/"] == 0 {
		t.Error("nothing of /etc can be read")
	}
	t.Logf("seen: %s\nreadable files: %v", top, count)
}

// Late mounts find their places below what is hidden.
func TestHostImageLateMounts(t *testing.T) {
	state, data := newDir(t), newDir(t)
	for _, dir := range []string{"env", "task"} {
		must(t, os.Mkdir(state+"/"+dir, 0o755))
	}
	must(t, os.Chmod(state+"/task", 0o777))
	must(t, os.WriteFile(state+"/env/f", []byte("env\n"), 0o644))
	must(t, os.WriteFile(state+"/secret", []byte(canary), 0o666))
	cfg := hostConfig(t, `cat "$0/env/f"; echo more >> "$0/env/f" && echo done > "$0/task/x"; ls -A "$0"`)
	cfg.Args = append(cfg.Args, state)
	cfg.Hide, cfg.Keep = []string{state}, []string{state + "/task"}
	cfg.Overlays = []Overlay{{Target: state + "/env", Lower: state + "/env", Upper: data + "/up"}}
	if os.Geteuid() != 0 { // its own user's files are nobody's inside
		cfg.Overlays[0].Upper = ""
	}
	exit, out := runToEnd(t, cfg)
	if !strings.HasPrefix(out[StreamStdout], "env\n") || strings.Contains(out[StreamStdout], "secret") || strings.Contains(out[StreamStdout], canary) {
		t.Errorf("%+v, wrote %q", exit, out)
	}
	if data, err := os.ReadFile(state + "/env/f"); err != nil || string(data) != "env\n" {
		t.Errorf("%q, %v", data, err)
	}
}
