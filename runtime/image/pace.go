package image

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// paced slows down a pull that nobody waits for. This process keeps its priority, so it
// rests from time to time: a task whose CPU it took gets it back.
type paced struct {
	io.Reader
	ctx    context.Context
	awaits *atomic.Int32 // pulls that somebody waits for: then it may be this one, too
	at     time.Time     // end of the last rest
}

const (
	paceWork = 5 * time.Millisecond // between two rests
	paceRest = 4                    // how much longer a rest is
	paceMost = 100 * time.Millisecond
)

// Read rests if it is time to.
func (p *paced) Read(b []byte) (int, error) {
	took := time.Since(p.at)
	if took < paceWork || p.awaits.Load() > 0 {
		return p.Reader.Read(b)
	}
	rest := time.NewTimer(min(paceRest*took, paceMost))
	defer rest.Stop()
	select {
	case <-p.ctx.Done():
		return 0, context.Cause(p.ctx)
	case <-rest.C:
	}
	p.at = time.Now()
	return p.Reader.Read(b)
}

// pace is r at the pace of the pull.
func (p *pull) pace(ctx context.Context, r io.Reader) io.Reader {
	if !p.q.gently {
		return r
	}
	return &paced{r, ctx, &p.store.awaited, time.Now()}
}
