package firewall

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
)

const forwarding = "/proc/sys/net/ipv4/ip_forward"

// Forward makes the host forward packets between its links, without which nothing
// leaves a private network, and tells whether it had to be changed. It is not
// changed back: others may rely on it by then.
func Forward() (changed bool, err error) {
	now, err := os.ReadFile(forwarding)
	if err == nil && strings.TrimSpace(string(now)) == "1" {
		return false, nil
	}
	if err == nil {
		err = forward()
	}
	if err != nil {
		return false, fmt.Errorf("cannot make the host forward packets (sysctl net.ipv4.ip_forward=1): %w", err)
	}
	return true, nil
}

func forward() error {
	f, err := os.OpenFile(forwarding, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("1")
	return errors.Join(err, f.Close())
}

// Obstacles lists chains of others that drop whatever they don't know of what the
// host forwards, so that private networks may have no way out. Those of the old
// iptables, which are not nftables, are not seen.
func Obstacles(tag string) ([]string, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("cannot list the host's packet filters: %w", err)
	}
	own := Policy{Tag: tag}.table()
	var found []string
	for _, ch := range chains {
		if ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookForward || ch.Policy == nil || *ch.Policy != nftables.ChainPolicyDrop {
			continue
		}
		if f, ok := families[ch.Table.Family]; ok && ch.Table.Name != own {
			found = append(found, fmt.Sprintf("%s %s %s", f, ch.Table.Name, ch.Name))
		}
	}
	return found, nil
}

// families are those that see what is forwarded of IPv4.
var families = map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyINet: "inet"}
