package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// stage is where a root is put together, in memory, in the mount namespace of
// the calling thread, which is the shim's own and goes with it.
type stage struct {
	run  *record.Run
	path string
}

func (s *stage) at(parts ...string) string {
	return filepath.Join(append([]string{s.path}, parts...)...)
}

// place mounts the stage in the run's folder. libcontainer's init names the root
// by its path and is nobody on the host by then, so a folder above that lets only
// its owner pass is covered itself.
func (s *stage) place(dir string, p *parts) error {
	at, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for up := at; up != "/"; up = filepath.Dir(up) {
		st, err := os.Stat(up)
		if err != nil {
			return err
		}
		if st.Mode().Perm()&1 == 0 {
			at = up
		}
	}
	if err := unix.Mount("agentctl-"+s.run.Nonce, at, "tmpfs", unix.MS_NODEV, "mode=0711"); err != nil {
		return fmt.Errorf("cannot make room for the root: %w", err)
	}
	s.path = at
	// Found there, the program is executed from a sealed mount; else it would be
	// copied each time.
	if dir := filepath.Dir(p.exe); strings.HasPrefix(dir, at+"/") {
		if err := p.exeDir.attach(dir); err != nil {
			return err
		}
	}
	// Mounts are made by names relative to it: those of a hundred layers fit in a
	// page, and the task, which sees them, learns nothing of the host.
	return unix.Chdir(at)
}

// build puts the root together.
func (s *stage) build(p *parts) error {
	if s.run.Sandbox.Host {
		return p.layers[0].attach(s.at("root"))
	}
	lowers := make([]string, len(p.layers))
	for i, l := range p.layers {
		lowers[i] = "l/" + strconv.Itoa(i)
		if err := l.attach(s.at(lowers[i])); err != nil {
			return err
		}
	}
	if err := s.upper(p); err != nil {
		return fmt.Errorf("cannot make the upper folder of the root: %w", err)
	}
	if err := os.Mkdir(s.at("root"), 0o755); err != nil {
		return err
	}
	opts := []string{"lowerdir=" + strings.Join(lowers, ":"), "upperdir=u/upper", "workdir=u/work"}
	if inUserNS() {
		opts = append(opts, "userxattr")
	}
	const flags = unix.MS_NODEV | unix.MS_NOSUID
	mark := "agentctl-" + s.run.Nonce
	err := unix.Mount(mark, "root", "overlay", flags, strings.Join(append(opts, "volatile"), ","))
	if errors.Is(err, unix.EINVAL) { // before 5.10
		err = unix.Mount(mark, "root", "overlay", flags, strings.Join(opts, ","))
	}
	if err != nil {
		return fmt.Errorf("cannot put the layers of the image together: %w", err)
	}
	return nil
}

// upper makes the folders for what the task changes in its root, at the stage's u.
func (s *stage) upper(p *parts) error {
	if p.upper != nil {
		return p.upper.attach(s.at("u"))
	}
	if err := os.Mkdir(s.at("u"), 0o700); err != nil {
		return err
	}
	opts := "mode=0700"
	if size := s.run.Sandbox.UpperSize; size > 0 {
		opts += ",size=" + strconv.FormatInt(size, 10)
	}
	if err := unix.Mount("upper", s.at("u"), "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, opts); err != nil {
		return err
	}
	return uppers(s.at("u"), s.run.Sandbox.IDs.Base, 0o755)
}

// file puts a text on the stage for the task to have as a file of its own.
func (s *stage) file(name string, data []byte) (string, error) {
	path := s.at("etc", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	base := s.run.Sandbox.IDs.Base
	return path, errors.Join(err, f.Chown(base, base), f.Close())
}
