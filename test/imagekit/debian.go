package imagekit

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/internal/fsx"
)

// kept changes when an image is made in another way, so that none of an old run is
// taken for it.
const kept = "2"

// Busybox is an image of Debian's static busybox, with its links in /bin, and musl's
// loader: a root without glibc, Python and a package manager.
func Busybox(t testing.TB) v1.Image {
	t.Helper()
	return Kept(t, "busybox-"+kept, func(dir string) (v1.Image, error) {
		layers, err := debs(dir, false, []string{"busybox-static", "musl"})
		if err != nil {
			return nil, err
		}
		out, err := exec.Command("dpkg-deb", "--fsys-tarfile", layers[0]).Output()
		if err != nil {
			return nil, fmt.Errorf("cannot read busybox: %w", err)
		}
		links, err := applets(out)
		if err != nil {
			return nil, err
		}
		return fromDebs(layers, append(base(), links...), v1.Config{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin", "KIT=busybox"}})
	})
}

// Debian is a Debian root with a shell, coreutils and Python, without a package
// manager. No script of a package was run in it.
func Debian(t testing.TB) v1.Image {
	t.Helper()
	return Kept(t, "debian-"+kept, func(dir string) (v1.Image, error) {
		layers, err := debs(dir, true, []string{
			"base-files", "base-passwd", "libc6", "libc-bin", "dash", "bash", "coreutils", "findutils", "grep", "sed", "hostname", "procps",
			"util-linux", "ca-certificates", "libstdc++6", "python3", "python3-minimal", "libpython3-stdlib", "python3-distutils",
		})
		if err != nil {
			return nil, err
		}
		more := append(base(), File{Name: "etc/debian_chroot", Body: "kit\n"})
		return fromDebs(layers, more, v1.Config{Cmd: []string{"bash"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "KIT=debian"}})
	})
}

// base is what installers make, not packages.
func base() []File {
	return []File{
		{Name: "dev/"}, {Name: "proc/"}, {Name: "sys/"}, {Name: "tmp/", Mode: 0o1777}, {Name: "run/"}, {Name: "root/", Mode: 0o700}, {Name: "etc/"},
		{Name: "etc/passwd", Body: "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nkit:x:1000:1000::/home/kit:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
		{Name: "etc/group", Body: "root:x:0:\ndaemon:x:1:\nkit:x:1000:\nnogroup:x:65534:\n"},
		{Name: "etc/nsswitch.conf", Body: "passwd: files\ngroup: files\nhosts: files dns\n"},
		{Name: "home/"}, {Name: "home/kit/", Header: func(h *tar.Header) { h.Uid, h.Gid = 1000, 1000 }},
	}
}

// applets are links for all that busybox is.
func applets(archive []byte) ([]File, error) {
	tr := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := tr.Next()
		if err != nil {
			return nil, fmt.Errorf("there is no busybox in its package: %w", err)
		}
		if path.Clean("/"+h.Name) != "/bin/busybox" && path.Clean("/"+h.Name) != "/usr/bin/busybox" {
			continue
		}
		dir, err := os.MkdirTemp("", "busybox")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		program := filepath.Join(dir, "busybox")
		f, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o700)
		if err == nil {
			_, err = io.Copy(f, tr)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return nil, err
		}
		names, err := exec.Command(program, "--list").Output()
		if err != nil {
			return nil, fmt.Errorf("cannot list what busybox is: %w", err)
		}
		var links []File
		for _, n := range strings.Fields(string(names)) {
			if n != "busybox" {
				links = append(links, File{Name: "bin/" + n, Link: path.Clean("/" + h.Name)})
			}
		}
		return links, nil
	}
}

// fromDebs makes an image of two layers: the packages, and what is put on top.
func fromDebs(debs []string, top []File, c v1.Config) (v1.Image, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	seen := map[string]bool{}
	for _, deb := range debs {
		if err := unpackDeb(w, deb, seen); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", filepath.Base(deb), err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	upper, err := Tar(top...)
	if err != nil {
		return nil, err
	}
	return Build(c, out.Bytes(), upper)
}

func unpackDeb(w *tar.Writer, deb string, seen map[string]bool) error {
	out, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
	if err != nil {
		return err
	}
	tr := tar.NewReader(bytes.NewReader(out))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)[1:]
		if name == "" || seen[name] || strings.HasPrefix(name, "usr/share/doc/") || strings.HasPrefix(name, "usr/share/man/") || strings.HasPrefix(name, "usr/share/locale/") {
			continue
		}
		seen[name] = true
		h.Name = name
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if h.Typeflag == tar.TypeLink {
			h.Linkname = path.Clean("/" + h.Linkname)[1:]
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(w, tr); err != nil {
			return err
		}
	}
}

var installs = regexp.MustCompile(`(?m)^Inst (\S+)`)

// debs fetches packages, with all that they depend on if that is wanted, by the ways
// of the host's apt, into dir.
func debs(dir string, deps bool, names []string) ([]string, error) {
	if err := download(dir, deps, names, nil); err != nil {
		// The host's lists may be missing or old: others are fetched, for the kit alone.
		lists, lerr := update()
		if lerr != nil {
			return nil, errors.Join(err, lerr)
		}
		if err := download(dir, deps, names, lists); err != nil {
			return nil, err
		}
	}
	var files []string
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return nil, err
	}
	for _, n := range names { // those that were named first, in order
		for _, f := range found {
			if strings.HasPrefix(filepath.Base(f), n+"_") {
				files = append(files, f)
			}
		}
	}
	for _, f := range found {
		if n, _, _ := strings.Cut(filepath.Base(f), "_"); !slices.Contains(names, n) {
			files = append(files, f)
		}
	}
	return files, nil
}

func download(dir string, deps bool, names, options []string) error {
	if deps {
		status := filepath.Join(dir, "status") // nothing is installed
		if err := os.WriteFile(status, nil, 0o600); err != nil {
			return err
		}
		out, err := apt(dir, append(options, "-o", "Dir::State::status="+status, "-o", "APT::Install-Recommends=0", "-s", "install"), names)
		if err != nil {
			return err
		}
		names = nil
		for _, m := range installs.FindAllSubmatch(out, -1) {
			names = append(names, string(m[1]))
		}
	}
	_, err := apt(dir, append(options, "download"), names)
	return err
}

// update fetches lists of packages for the kit.
func update() ([]string, error) {
	dir, err := cache()
	if err != nil {
		return nil, err
	}
	var options []string
	for option, folder := range map[string]string{"Dir::State::lists": "lists", "Dir::Cache": "apt"} {
		at := filepath.Join(dir, folder)
		if err := os.MkdirAll(filepath.Join(at, "partial"), 0o755); err != nil {
			return nil, err
		}
		options = append(options, "-o", option+"="+at)
	}
	_, err = apt(dir, append(options, "update"), nil)
	return options, err
}

func apt(dir string, args, names []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	// As this user, not as apt's own, who may not write here; and beside others.
	own := []string{"-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", "-q"}
	cmd := exec.CommandContext(ctx, "apt-get", append(append(own, args...), names...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(failed.Stderr))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot get Debian's packages by apt-get: %w", err)
	}
	return out, nil
}

// Kept gives an image that make makes, once for all test programs on this host.
func Kept(t testing.TB, name string, make func(dir string) (v1.Image, error)) v1.Image {
	t.Helper()
	img, err := keep(t.Context(), name, make)
	if err != nil {
		t.Fatalf("cannot make the image %s: %v", name, err)
	}
	return img
}

func keep(ctx context.Context, name string, make func(dir string) (v1.Image, error)) (v1.Image, error) {
	dir, err := cache()
	if err != nil {
		return nil, err
	}
	lock, err := fsx.WaitLock(ctx, filepath.Join(dir, name+".lock"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	at := filepath.Join(dir, name)
	if img, err := first(at); err == nil {
		return img, nil
	}
	work, err := os.MkdirTemp(dir, name+"-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	img, err := make(work)
	if err != nil {
		return nil, err
	}
	whole := filepath.Join(work, "layout")
	if err := write(whole, img); err != nil {
		return nil, err
	}
	if err := errors.Join(os.RemoveAll(at), os.Rename(whole, at)); err != nil {
		return nil, err
	}
	return first(at)
}
