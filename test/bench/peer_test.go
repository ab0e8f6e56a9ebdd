//go:build bench

package bench

import (
	"fmt"

	"agentctl/test/e2e/harness"
)

// peer is a number of clearml-agent daemons, as their documentation starts them.
type peer struct {
	home    string
	daemons []*harness.PeerDaemon
}

// startPeer starts count daemons for a queue, each with a worker name of its own
// and empty caches.
func startPeer(n *harness.Node, api, queue string, count int) *peer {
	n.T.Helper()
	p := &peer{home: n.NewPeerHome(api, "")}
	for i := range count {
		p.daemons = append(p.daemons, n.StartPeer(p.home, fmt.Sprintf("peer:%d", i), nil, queue))
	}
	return p
}

// stop ends the daemons and what they started.
func (p *peer) stop() {
	for _, daemon := range p.daemons {
		daemon.Stop()
	}
}
