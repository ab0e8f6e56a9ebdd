package envcache

import (
	"context"
	"io"
	"time"

	"agentctl/envcache/internal/urgency"
	"agentctl/internal/tree"
)

// Background marks what is done under the context as work for a task that has not
// come yet. It gets what CPU, I/O and memory others leave, until somebody waits
// for what it makes.
func Background(ctx context.Context) context.Context { return urgency.Background(ctx) }

// gentle runs what is run in the background at low priority, whoever runs it: a
// builder, the tools that it needs first, a search for interpreters.
type gentle struct{ Exec }

func (g gentle) Run(ctx context.Context, c Cmd) (Exit, error) {
	if l := urgency.Of(ctx); !l.Lifted() {
		c.Nice, c.Lift = true, l.Done()
	}
	return g.Exec.Run(ctx, c)
}

// pace slows down what this process does itself in the background. The process
// keeps its priority, so it rests from time to time: a task whose CPU it took gets
// it back.
type pace struct {
	ctx  context.Context
	lift *urgency.Lift
	at   time.Time // end of the last rest
}

// paceWork is the time between two rests, paceRest how much longer a rest is.
const (
	paceWork = 5 * time.Millisecond
	paceRest = 4
)

// of gives a reader at this pace; nil is no pace.
func (p *pace) of(r io.Reader) io.Reader {
	if p == nil {
		return struct{ io.Reader }{r} // a file would bring a buffer of its own
	}
	return paced{r, p}
}

type paced struct {
	io.Reader
	pace *pace
}

func (r paced) Read(b []byte) (int, error) {
	p := r.pace
	took := time.Since(p.at)
	if took < paceWork || p.lift.Lifted() {
		return r.Reader.Read(b)
	}
	rest := time.NewTimer(paceRest * took)
	defer rest.Stop()
	select {
	case <-p.ctx.Done():
		return 0, context.Cause(p.ctx)
	case <-p.lift.Done():
	case <-rest.C:
	}
	p.at = time.Now()
	return r.Reader.Read(b)
}

// hashGently hashes one file after the other, as long as nobody waits for it, and
// gives those that are left.
func hashGently(ctx context.Context, files tree.Files, all []*item) ([]*item, error) {
	p := &pace{ctx, urgency.Of(ctx), time.Now()}
	for ; len(all) > 0 && !p.lift.Lifted(); all = all[1:] {
		if err := all[0].hash(files, p); err != nil {
			return nil, err
		}
	}
	return all, nil
}
