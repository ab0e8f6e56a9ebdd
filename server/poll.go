package server

import (
	"context"
	"time"
)

// poll is the extension of a read by which a client asks to be answered when
// something has changed.
type poll struct {
	Since  int64 `json:"agentctl_since"`
	WaitMS int64 `json:"agentctl_wait_ms"`
}

// maxWait bounds how long a request is held.
const maxWait = 5 * time.Minute

// hold waits until one of the topics has changed after p.Since, or the time is
// over, or the client has gone. It returns the revision to answer with, which is
// taken before the caller reads: a change after it is seen by the next poll.
func (s *Server) hold(ctx context.Context, p poll, topics []string) int64 {
	revision, changed := s.notify.fresh(topics, p.Since)
	if changed || p.WaitMS <= 0 {
		return revision
	}
	w := s.notify.subscribe(topics)
	defer s.notify.unsubscribe(w, topics)
	timer := time.NewTimer(min(time.Duration(min(p.WaitMS, int64(maxWait/time.Millisecond)))*time.Millisecond, maxWait))
	defer timer.Stop()
	for {
		// Look again after subscribing: the change may have come in between.
		if revision, changed = s.notify.fresh(topics, p.Since); changed {
			return revision
		}
		select {
		case <-w.woken:
		case <-timer.C:
			return revision
		case <-ctx.Done():
			return revision
		case <-s.draining:
			return revision
		}
	}
}
