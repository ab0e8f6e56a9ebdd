package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"agentctl/runtime/dockerargs"
	"agentctl/spec"
)

// aptInstall installs packages with the image's own apt and from its own sources.
// Lists and archives go to a folder that is gone afterwards: those of the image stay
// as they are. apt downloads as root, since a sandbox need not have its user.
const aptInstall = `set -e
exec 2>&1
own=/var/tmp/agentctl-apt
rm -rf $own
mkdir -p $own/lists/partial $own/archives/partial
get() {
	apt-get -q -o APT::Sandbox::User=root -o Dir::State::lists=$own/lists -o Dir::Cache=$own -o Dpkg::Use-Pty=0 "$@"
}
get update
get install -y --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -- "$@"
rm -rf $own`

// aptProgram is where apt is, below the root of an image.
const aptProgram = "usr/bin/apt-get"

// aptCapabilities are what dpkg and the scripts of packages need: of the sandbox's own
// files and users.
var aptCapabilities = capabilities([]string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETGID", "SETUID"})

// longestApt ends an installation that asks something, or waits for a server.
const longestApt = time.Hour

var errApt = fmt.Errorf("apt took longer than %s", longestApt)

// aptOf are the Debian packages of a task: those of its worker, which an image without
// apt goes without, and what it asks for itself, as far as it may.
func aptOf(asked []string, w spec.Worker) (all []string, refused []dockerargs.Refusal) {
	allow := w.Sandbox.Allow.AptPackages
	all = slices.Clone(w.Sandbox.AptPackages)
	for _, name := range asked {
		if slices.Contains(allow, "*") || slices.Contains(allow, name) || slices.Contains(all, name) {
			all = append(all, name)
			continue
		}
		refused = append(refused, dockerargs.Refusal{
			Argument: "the Debian package " + name, Fault: "is not among those of spec.sandbox.allow.aptPackages", Fix: "leave it out, or add " + name + " to it",
		})
	}
	slices.Sort(all)
	return slices.Compact(all), refused
}

// addPackages puts the Debian packages of the task into its image, as a layer that is
// made once for the image and the list.
func (r *run) addPackages(ctx context.Context, p *prepared) error {
	b := p.box
	if len(b.Apt) == 0 {
		return nil
	}
	if !b.image.has(aptProgram) {
		if own := p.packages.choice.apt; len(own) > 0 {
			return fmt.Errorf("cannot install the Debian packages that the task asks for (%s): the image %s has no apt", strings.Join(own, ", "), b.image.Ref)
		}
		r.say("apt: the image has no apt, and goes without %s", strings.Join(b.Apt, ", "))
		return nil
	}
	began := time.Now()
	r.show("apt")
	waiting := func() { r.say("apt: waiting for another task that installs the same") }
	layer, err := r.pool.cfg.Images.Add(ctx, b.image, r.rec.Worker.Sandbox, b.ids, aptName(b.Apt), waiting, func(ctx context.Context, dir string, lock *os.File) error {
		r.say("apt: installing %s", strings.Join(b.Apt, ", "))
		return r.installPackages(ctx, p, dir, lock)
	})
	if err != nil {
		return err
	}
	b.image.put(layer, aptName(b.Apt))
	how := "here already"
	if !layer.Hit {
		how = "installed in " + round(time.Since(began)).String()
	}
	r.span("apt", began)
	r.say("apt: %s: %s", strings.Join(b.Apt, ", "), how)
	return nil
}

// errNotInstalled means that nobody installed the packages yet.
var errNotInstalled = errors.New("the Debian packages of its image are not installed yet")

// packagesHere puts the Debian packages into the image of a sandbox that is made before
// its task comes, if they are here.
func (p *Pool) packagesHere(ctx context.Context, b *sandboxed, w spec.Worker) error {
	if len(b.Apt) == 0 || !b.image.has(aptProgram) {
		return nil
	}
	layer, err := p.cfg.Images.Add(ctx, b.image, w.Sandbox, b.ids, aptName(b.Apt), nil, func(context.Context, string, *os.File) error { return errNotInstalled })
	if err != nil {
		return err
	}
	b.image.put(layer, aptName(b.Apt))
	return nil
}

// aptName tells one list of packages from another.
func aptName(packages []string) string { return "apt " + strings.Join(packages, " ") }

// installPackages runs apt in a sandbox of the image that leaves what it writes in dir.
func (r *run) installPackages(ctx context.Context, p *prepared, dir string, lock *os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, longestApt, errApt)
	defer cancel()
	err := r.inLayer(ctx, p, dir, lock, addition{
		name: "apt", caps: aptCapabilities, args: append([]string{"/bin/sh", "-c", aptInstall, "apt"}, p.box.Apt...), env: r.aptEnv(),
	})
	if err != nil {
		return fmt.Errorf("cannot install Debian packages: %w", err)
	}
	return nil
}

// aptEnv tells apt the proxies of the host; the rest is the image's own business.
func (r *run) aptEnv() []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8",
	}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		for _, name := range []string{name, strings.ToUpper(name)} {
			if value, ok := r.pool.cfg.Environ(name); ok {
				env = append(env, name+"="+value)
			}
		}
	}
	return env
}
