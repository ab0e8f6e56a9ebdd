package runtime

import (
	"context"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkSandbox measures from Start to the end of /bin/true, cold.
func BenchmarkSandbox(b *testing.B) {
	l := launcher(realShim(b))
	root := busyboxLayer(b)
	var times []time.Duration
	for i := range b.N {
		cfg := boxConfig(b, "", root)
		cfg.ID, cfg.Args = "bench-"+strconv.Itoa(i), []string{"/bin/true"}
		began := time.Now()
		task, err := l.Start(context.Background(), cfg)
		must(b, err)
		exit, err := task.Wait(context.Background())
		times = append(times, time.Since(began))
		must(b, err)
		if exit.Code != 0 {
			b.Fatalf("%+v", exit)
		}
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)/20].Microseconds())/1000, "p5-ms")
}

// BenchmarkSandboxAhead measures from Start in a sandbox made ahead to the first
// byte that the task writes, and to its end.
func BenchmarkSandboxAhead(b *testing.B) {
	root := busyboxLayer(b)
	var first, end []time.Duration
	for i := range b.N {
		cfg := boxConfig(b, "", root)
		cfg.ID, cfg.Args = "bench-"+strconv.Itoa(i), []string{"/bin/echo", "hello"}
		for _, n := range []string{"a", "b", "c"} {
			must(b, os.Mkdir(cfg.Dir+"/"+n, 0o755))
			cfg.Overlays = append(cfg.Overlays, Overlay{Target: cfg.Dir + "/" + n, Lower: cfg.Dir + "/" + n, Upper: cfg.Dir + "/up" + n})
		}
		s := prepare(b, cfg)
		must(b, s.Ready(context.Background()))
		time.Sleep(20 * time.Millisecond)
		r, err := OpenConsole(cfg.Dir, 0)
		must(b, err)
		began := time.Now()
		task, err := s.Start(context.Background(), cfg)
		must(b, err)
		if _, err := r.Next(context.Background()); err != nil {
			b.Fatal(err)
		}
		first = append(first, time.Since(began))
		_, err = task.Wait(context.Background())
		must(b, err)
		end = append(end, time.Since(began))
		must(b, r.Close())
	}
	for what, times := range map[string][]time.Duration{"first": first, "end": end} {
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, what+"-p50-ms")
		b.ReportMetric(float64(times[len(times)/20].Microseconds())/1000, what+"-p5-ms")
	}
}
