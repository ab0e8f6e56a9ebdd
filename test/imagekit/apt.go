package imagekit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Apt is a Debian root with apt, whose only source is a folder of its own. That has the
// packages kit-hello, of a program of that name and a file that its script gives to the
// user kit, kit-extra, which depends on it, and kit-broken, whose script fails.
func Apt(t testing.TB) v1.Image {
	t.Helper()
	return Kept(t, "apt-"+kept, func(dir string) (v1.Image, error) {
		files, err := repository(filepath.Join(dir, "repository"))
		if err != nil {
			return nil, err
		}
		debs, err := debs(dir, true, []string{
			"base-files", "base-passwd", "libc6", "libc-bin", "dash", "coreutils", "grep", "sed", "tar", "gzip", "diffutils", "dpkg", "apt",
		})
		if err != nil {
			return nil, err
		}
		files = append(append(base(), files...),
			File{Name: "var/tmp/", Mode: 0o1777}, File{Name: "var/lib/dpkg/"}, File{Name: "var/lib/dpkg/info/"}, File{Name: "var/lib/dpkg/updates/"},
			File{Name: "var/lib/dpkg/status"}, File{Name: "var/lib/dpkg/available"},
			File{Name: "etc/apt/sources.list", Body: "deb [trusted=yes] file:/srv/repository ./\n"},
		)
		return fromDebs(debs, files, v1.Config{Cmd: []string{"/bin/sh"}, User: "kit", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "KIT=apt"}})
	})
}

// repository makes packages in dir, and gives their files and their index as those of
// an image.
func repository(dir string) ([]File, error) {
	index, files := "", []File{{Name: "srv/"}, {Name: "srv/repository/"}}
	for name, p := range map[string]struct{ depends, program, script string }{
		"kit-hello":  {program: "#!/bin/sh\necho hello of the kit\n", script: "chown kit:kit /usr/bin/kit-hello\nchmod 4755 /usr/bin/kit-hello\n"},
		"kit-extra":  {depends: "kit-hello", program: "#!/bin/sh\necho extra of the kit\n"},
		"kit-broken": {program: "#!/bin/sh\n", script: "echo all is lost\nexit 7\n"},
	} {
		control := "Package: " + name + "\nVersion: 1.0\nArchitecture: all\nMaintainer: kit <kit@example.com>\nDescription: of the kit\n"
		if p.depends != "" {
			control += "Depends: " + p.depends + "\n"
		}
		deb, err := buildDeb(filepath.Join(dir, name), map[string]string{
			"DEBIAN/control": control, "DEBIAN/postinst": "#!/bin/sh\nset -e\n" + p.script, "usr/bin/" + name: p.program,
		})
		if err != nil {
			return nil, err
		}
		file := name + "_1.0_all.deb"
		index += fmt.Sprintf("%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", control, file, len(deb), sha256.Sum256(deb))
		files = append(files, File{Name: "srv/repository/" + file, Body: string(deb)})
	}
	return append(files, File{Name: "srv/repository/Packages", Body: index}), nil
}

// buildDeb makes a package of files; programs and scripts are executable.
func buildDeb(dir string, files map[string]string) ([]byte, error) {
	for name, text := range files {
		path, mode := filepath.Join(dir, name), os.FileMode(0o755)
		if strings.HasSuffix(name, "control") {
			mode = 0o644
		}
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode))
		if err != nil {
			return nil, err
		}
	}
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", dir, dir+".deb").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot make a package: %w: %s", err, out)
	}
	return os.ReadFile(dir + ".deb")
}
