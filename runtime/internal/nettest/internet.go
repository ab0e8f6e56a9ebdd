package nettest

import "testing"

// Addresses of an Internet.
const (
	HostAddr    = "203.0.113.1" // the host's
	NearAddr    = "203.0.113.2" // the first outside
	FarAddr     = "198.51.100.7"
	CloudAddr   = "169.254.169.254" // of the machine's cloud
	CloudAddr6  = "fd00:ec2::254"
	WireAddr    = "168.63.129.16"
	FarAddr6    = "2001:db8:1::7"
	hostAddr6   = "2001:db8::1"
	nearAddr6   = "2001:db8::2"
	InternetMTU = 1380
)

// Internet is a host and the world behind its default route.
type Internet struct{ Host, World NS }

// NewInternet makes one. All that the world has answers at each of its addresses.
func NewInternet(t testing.TB) Internet {
	t.Helper()
	i := Internet{New(t), New(t)}
	Join(t, i.Host, "uplink", i.World, "down", InternetMTU)
	i.Host.Address(t, "uplink", HostAddr+"/24")
	i.World.Address(t, "down", NearAddr+"/24")
	i.Host.Address(t, "uplink", hostAddr6+"/64")
	i.World.Address(t, "down", nearAddr6+"/64")
	for _, a := range []string{FarAddr + "/32", CloudAddr + "/32", WireAddr + "/32", CloudAddr6 + "/128", FarAddr6 + "/128"} {
		i.World.Address(t, "lo", a)
	}
	i.Host.Route(t, "uplink", "", NearAddr)
	i.Host.Route(t, "uplink", "::/0", nearAddr6)
	return i
}
