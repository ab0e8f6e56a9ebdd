package image

import (
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	goruntime "runtime"
	"time"

	"agentctl/runtime/image/internal/unpack"
)

// Options of a Store.
type Options struct {
	// Shift is added to the user and group of each file: the begin of the node's id
	// range where layers are not mapped when they are mounted.
	Shift int
	// IDs is the length of that range; 0: no bound.
	IDs int
	// Rootless means that sandboxes are made by an ordinary user: overlayfs then reads
	// its marks in user.overlay.*.
	Rootless bool
	// Recorded takes these three from whoever opened the store before, if anybody did: for
	// tools that fetch images for an agent.
	Recorded bool
	// Enter, if not nil, starts a command in a user namespace where this user is root and
	// the ids from 1 on are those of the range that begins at Shift. Layers are then made
	// and removed there.
	Enter func(*exec.Cmd) error
	// Inside is the command that calls Inside; nil: this program's "image inside".
	Inside []string

	// Credentials is a file in the form of docker's config.json; it comes before
	// docker's own and podman's. All are read when they are needed.
	Credentials string
	// Mirrors are asked before a registry, in order, each as HOST[:PORT][/PREFIX].
	Mirrors map[string][]string
	// Insecure are the registries, as HOST[:PORT], that may be spoken to without TLS.
	Insecure []string
	// CAs are trusted besides those of the system.
	CAs []*x509.Certificate
	// Proxy finds the proxy of a request; nil: by the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Getenv finds docker's configuration; nil: os.Getenv.
	Getenv func(string) string

	Limits   Limits
	Parallel int // layers of an image that are fetched at once; 0: four
	Now      func() time.Time
	Log      *slog.Logger
}

// Limits of an image; zero values are those of DefaultLimits.
type Limits struct {
	Bytes   int64 // of the files of a layer, and of its archive; and of all layers as they are fetched
	Entries int   // of a layer
	Layers  int
	Ratio   int64 // unpacked to packed bytes of a layer
	From    int64 // unpacked bytes from which on that holds
	Path    int   // bytes of a path
	Depth   int   // folders within each other
}

// DefaultLimits fit any image that is meant to be run.
func DefaultLimits() Limits {
	// Overlayfs takes 500 lower folders; a path of the kernel has 4096 bytes, the NUL among
	// them; package tree gives up at 200 levels.
	return Limits{Bytes: 256 << 30, Entries: 4 << 20, Layers: 250, Ratio: 400, From: 64 << 20, Path: 4095, Depth: 190}
}

const (
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
)

func (o Options) filled() Options {
	d := DefaultLimits()
	l := &o.Limits
	for _, n := range []struct{ have, or *int64 }{{&l.Bytes, &d.Bytes}, {&l.Ratio, &d.Ratio}, {&l.From, &d.From}} {
		if *n.have <= 0 {
			*n.have = *n.or
		}
	}
	for _, n := range []struct{ have, or *int }{{&l.Entries, &d.Entries}, {&l.Layers, &d.Layers}, {&l.Path, &d.Path}, {&l.Depth, &d.Depth}} {
		if *n.have <= 0 {
			*n.have = *n.or
		}
	}
	// An ordinary user can't make the other marks.
	o.Rootless = o.Rootless || os.Geteuid() != 0
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.Inside == nil {
		o.Inside = []string{"/proc/self/exe", "image", "inside"}
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) unpack() unpack.Options {
	return unpack.Options{
		Shift: o.Shift, IDs: o.IDs, Rootless: o.Rootless, Writers: 2 * goruntime.GOMAXPROCS(0),
		Limits: unpack.Limits{Bytes: o.Limits.Bytes, Entries: o.Limits.Entries, Path: o.Limits.Path, Depth: o.Limits.Depth},
	}
}
