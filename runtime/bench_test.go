package runtime

import (
	"context"
	"io"
	"os"
	"strconv"
	"testing"
	"time"
)

// BenchmarkStart measures, with the real shim, how long it takes from Start until
// the first byte of a trivial program is in the console and read (first-ms),
// until Start returns (start-ms) and until the run has ended (end-ms).
func BenchmarkStart(b *testing.B) {
	for _, bm := range []struct{ name, containment, mount string }{
		{"cgroup2-overlays", Cgroup2, MountRoot},
		{"cgroup2", Cgroup2, MountNone},
		{"cgroup1", Cgroup1, MountNone},
		{"subreaper", Subreaper, MountNone},
		{"pidns", PIDNS, MountNone},
	} {
		b.Run(bm.name, func(b *testing.B) { benchStart(b, bm.containment, bm.mount) })
	}
}

func benchStart(b *testing.B, containment, mount string) {
	path, err := builtShim()
	must(b, err)
	l := launcher(path)
	var first, started, ended time.Duration
	for i := range b.N {
		cfg := newConfig(b, "/bin/echo", "hello")
		cfg.ID += strconv.Itoa(i)
		cfg.Containment, cfg.MountNS = containment, mount
		if mount == MountRoot {
			for _, n := range []string{"a", "b"} {
				must(b, os.Mkdir(cfg.Dir+"/"+n, 0o755))
				cfg.Overlays = append(cfg.Overlays, Overlay{Target: cfg.Dir + "/" + n, Lower: cfg.Dir + "/" + n, Upper: cfg.Dir + "/up" + n})
			}
			must(b, os.Mkdir(cfg.Dir+"/keep", 0o755))
			cfg.Hide, cfg.Keep = []string{cfg.Dir}, []string{cfg.Dir + "/keep"}
		}
		r, err := OpenConsole(cfg.Dir, 0)
		must(b, err)
		began := time.Now()
		task, err := l.Start(context.Background(), cfg)
		must(b, err)
		started += time.Since(began)
		f, err := r.Next(context.Background())
		if err == nil && string(f.Data) != "hello\n" {
			b.Fatalf("%q", f.Data)
		}
		first += time.Since(began)
		_, err2 := task.Wait(context.Background())
		ended += time.Since(began)
		must(b, err2)
		if err == io.EOF {
			b.Fatal(task.exit)
		}
		must(b, r.Close())
	}
	for name, d := range map[string]time.Duration{"first-ms": first, "start-ms": started, "end-ms": ended} {
		b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), name)
	}
}
