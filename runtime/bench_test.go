package runtime

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkStart measures, with the real shim, how long it takes from Start until
// Start returns (start), the first byte of a trivial program was read from the
// console (first), and the run has ended (end).
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
	times := map[string][]time.Duration{}
	note := func(what string, began time.Time) { times[what] = append(times[what], time.Since(began)) }
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
		note("start", began)
		f, err := r.Next(context.Background())
		if err == nil && string(f.Data) != "hello\n" {
			b.Fatalf("%q", f.Data)
		}
		note("first", began)
		_, err2 := task.Wait(context.Background())
		note("end", began)
		must(b, err2)
		if errors.Is(err, io.EOF) {
			b.Fatal(task.exit)
		}
		must(b, r.Close())
	}
	for what, all := range times {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, what+"-p50-ms")
		b.ReportMetric(float64(all[len(all)/20].Microseconds())/1000, what+"-p5-ms")
	}
}
