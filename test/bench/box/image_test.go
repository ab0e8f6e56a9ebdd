//go:build bench

package box

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"agentctl/runtime/image"
	"agentctl/test/imagekit"
)

var (
	imageRounds = flag.Int("image-rounds", 3, "pulls of the image, by each program in turn")
	imageFolder = flag.String("image-folder", "", "where images go; a temporary folder if empty")
)

// puller pulls an image that is not there, and tells how long it took until it could
// be used, and until it was on the disk.
type puller struct {
	name string
	pull func(t *testing.T, ref string) (usable, durable time.Duration)
}

// TestImagePull measures the pull and the unpacking of 340 MB in five layers from a
// registry on loopback, turn and turn about, beside docker and podman. Each round has an image of its own, and all are removed at the end: ext4
// looks at every inode that was freed in the last five minutes before it gives a new
// file one, which costs ten times the pull.
func TestImagePull(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	var refs []string
	for n := range *imageRounds {
		refs = append(refs, r.Push(t, fmt.Sprintf("bench/large:%d", n), imagekit.Large(t, n)))
	}
	pullers := []puller{{"agentctl", func(t *testing.T, ref string) (time.Duration, time.Duration) { return pullOurs(t, r, ref) }}}
	dir := scratch(t)
	if docker, _ := startDocker(t, dir); docker != nil {
		pullers = append(pullers, puller{"docker", pullBy(docker)})
	}
	if podman := startPodman(t, dir); podman != nil {
		pullers = append(pullers, puller{"podman", pullBy(podman, "--tls-verify=false")})
	}
	times := map[string][]time.Duration{}
	for _, ref := range refs {
		for _, p := range pullers {
			// What the one before wrote is not to be written while the next is measured.
			quietly("sync")
			usable, durable := p.pull(t, ref)
			times[p.name] = append(times[p.name], usable)
			fmt.Printf("%-10s %6.2f s, on the disk %6.2f s\n", p.name, usable.Seconds(), durable.Seconds())
		}
	}
	median := func(name string) float64 {
		slices.Sort(times[name])
		return times[name][len(times[name])/2].Seconds()
	}
	for _, p := range pullers {
		fmt.Printf("%-10s median %6.2f s, agentctl takes %.2f of it\n", p.name, median(p.name), median("agentctl")/median(p.name))
	}
}

func pullOurs(t *testing.T, r *imagekit.Registry, ref string) (time.Duration, time.Duration) {
	t.Helper()
	dir, err := os.MkdirTemp(*imageFolder, "image-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	start := time.Now()
	s, err := image.Open(filepath.Join(dir, "images"), image.Options{Insecure: []string{r.Host()}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Acquire(t.Context(), image.Request{Ref: ref}, nil)
	if err != nil {
		t.Fatal(err)
	}
	usable := time.Since(start)
	_ = l.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return usable, time.Since(start)
}

// pullBy pulls with another program.
func pullBy(cli []string, flags ...string) func(*testing.T, string) (time.Duration, time.Duration) {
	return func(t *testing.T, ref string) (time.Duration, time.Duration) {
		start := time.Now()
		loud(t, append(append(append(cli[:len(cli):len(cli)], "pull", "-q"), flags...), ref)...)
		usable := time.Since(start)
		quietly("sync")
		durable := time.Since(start)
		t.Cleanup(func() { quietly(append(cli[:len(cli):len(cli)], "rmi", "-f", ref)...) })
		return usable, durable
	}
}
