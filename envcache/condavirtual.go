package envcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"agentctl/envcache/internal/talk"
	"agentctl/internal/fsx"
)

// condaOverrides are conda's variables that replace what is found on a host.
var condaOverrides = []string{"CONDA_OVERRIDE_CUDA", overrideGlibc, "CONDA_OVERRIDE_ARCHSPEC"}

const overrideGlibc = "CONDA_OVERRIDE_GLIBC"

func isGlibc(kv string) bool { return strings.HasPrefix(kv, overrideGlibc+"=") }

func (b *condaBuilder) overrides() []string {
	var env []string
	for _, name := range condaOverrides {
		if v := b.getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// virtualFound are the virtual packages of this host, as __cuda and __glibc,
// with what they were found from.
type virtualFound struct {
	From     string   `json:"from"`
	Packages []string `json:"packages"`
}

// virtual gives the virtual packages of what is built for: those of this host, but
// for the C library of another root.
func (b *condaBuilder) virtual(ctx context.Context, p *condaPlan, say func(Progress)) ([]string, error) {
	all, err := b.hostVirtual(ctx, p, say)
	if err != nil || p.glibc == "" || slices.ContainsFunc(b.overrides(), isGlibc) {
		return all, err
	}
	all = slices.DeleteFunc(slices.Clone(all), func(v string) bool { return strings.HasPrefix(v, "__glibc=") })
	all = append(all, "__glibc="+p.glibc+"=0")
	slices.Sort(all)
	return all, nil
}

// hostVirtual gives the virtual packages of this host. They are asked for once per
// boot and driver: they are in every key, and a hit must start no program.
func (b *condaBuilder) hostVirtual(ctx context.Context, p *condaPlan, say func(Progress)) ([]string, error) {
	boot, driver := readProc("sys/kernel/random/boot_id"), readProc("driver/nvidia/version")
	sum := sha256.Sum256([]byte(strings.Join(append([]string{p.identity, boot, driver}, b.overrides()...), "\n")))
	from := hex.EncodeToString(sum[:])
	file := b.virtualFile(from)
	var last virtualFound
	if fsx.ReadJSON(file, &last) == nil && last.From == from { // a damaged file only costs a new look
		return last.Packages, nil
	}
	t, err := p.client(ctx, say)
	if err != nil {
		return nil, err
	}
	talking, err := b.newTalk(t, condaAsk{Op: "virtual"}, "/", CleanEnv(b.getenv, append(b.overrides(), "HOME=/")...))
	if err != nil {
		return nil, err
	}
	lines := talk.NewLines(func(line string) string {
		if talking.hear(line, nil) {
			return ""
		}
		return line
	}, nil)
	cmd := talking.cmd
	cmd.UID, cmd.GID, cmd.Stdout, cmd.Stderr = SameUser, SameUser, lines, lines
	exit, err := b.exec.Run(ctx, cmd)
	_ = lines.Close()
	if err == nil && exit.Code != 0 {
		err = errors.New(strings.Join(lines.Tail(5), "; "))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find the virtual packages of this host: %w", err)
	}
	found := virtualFound{From: from}
	for _, e := range talking.events {
		found.Packages = append(found.Packages, e.Virtual)
	}
	slices.Sort(found.Packages)
	forgetVirtual(filepath.Dir(file))
	return found.Packages, fsx.WriteJSON(file, found, 0o600)
}

// virtualFile has a name for what the packages were found from: workers whose settings
// differ must not each take the other's answer away.
func (b *condaBuilder) virtualFile(from string) string {
	return filepath.Join(b.state, "tools", "conda-virtual-"+from[:16]+".json")
}

// virtualAge is how long an answer is kept: most are of boots that are over, and the
// others cost a look.
const virtualAge = 90 * 24 * time.Hour

func forgetVirtual(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "conda-virtual*.json"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && time.Since(info.ModTime()) > virtualAge {
			_ = os.Remove(f) // else the next one does
		}
	}
}

func readProc(name string) string {
	data, err := os.ReadFile(filepath.Join("/proc", name))
	if err != nil {
		return "" // as on a host without the driver
	}
	return string(data)
}
