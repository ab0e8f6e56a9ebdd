package dockerargs

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/docker/cli/opts"
)

var networkOptions = []option{
	{names: []string{"net", "network"}, parse: network, example: NetworkNone},
	{names: []string{"p", "publish"}, parse: publish, example: "8080:80"},
	toggle(publish, "P", "publish-all"),
	{names: []string{"add-host"}, parse: addHost, example: "name:10.0.0.1"},
	{names: []string{"dns"}, parse: dns, example: "10.0.0.53"},
	{names: []string{"dns-search"}, parse: dnsSearch, example: "example.com"},
	{names: []string{"dns-opt", "dns-option"}, parse: dnsOption, example: "ndots:1"},
	{names: []string{"h", "hostname"}, parse: hostname, example: "trainer"},
	{names: []string{"expose"}, parse: ignored("")},
	denyAddress("ip"), denyAddress("ip6"), denyAddress("mac-address"), denyAddress("link-local-ip"),
	denyAddress("net-alias"), denyAddress("network-alias"),
}

func denyAddress(name string) option {
	return option{names: []string{name}, parse: denial("is for networks of Docker, and there are none here", leaveOut)}
}

// network takes Docker's names for what there is here: its own default is a private
// network.
func network(value string) (Request, error) {
	var o opts.NetworkOpt
	if err := o.Set(value); err != nil {
		return Request{}, err
	}
	n := o.Value()[0]
	if strings.Contains(value, ",") || len(n.Aliases)+len(n.DriverOpts)+len(n.LinkLocalIPs) > 0 {
		return Request{}, fault{"has options of a network of Docker", "write its name only: host, private or none"}
	}
	mode := n.Target
	switch mode {
	case NetworkHost, NetworkNone, NetworkPrivate:
	case "bridge", "default":
		mode = NetworkPrivate
	default:
		return denial("is a network of Docker or of another container, and there are none here", "write host, private or none")(value)
	}
	return Request{Kind: KindNetwork, Settings: Settings{Network: mode}}, nil
}

func publish(string) (Request, error) { return Request{Kind: KindPublish}, nil }

var hostForm = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)

func hostname(value string) (Request, error) {
	if len(value) > 64 || !hostForm.MatchString(value) { // what the kernel takes
		return Request{}, fault{"is no host name", "write up to 64 letters, digits, - and ."}
	}
	return Request{Kind: KindFree, Settings: Settings{Hostname: value}}, nil
}

func addHost(value string) (Request, error) {
	entry, err := opts.ValidateExtraHost(value)
	if err != nil {
		return Request{}, err
	}
	name, text, _ := strings.Cut(entry, ":")
	if len(name) > 253 || !hostForm.MatchString(name) {
		return Request{}, fault{"has no host name", "write it as NAME:ADDRESS"}
	}
	if text == "host-gateway" {
		return Request{Kind: KindGateway, Name: name}, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return Request{}, fault{"has no address", "write it as NAME:ADDRESS"}
	}
	return Request{Kind: KindHost, Settings: Settings{Hosts: []Host{{name, addr}}}}, nil
}

func dns(value string) (Request, error) {
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return Request{}, fault{"is no address", "write it as 10.0.0.53"}
	}
	return Request{Kind: KindFree, Settings: Settings{DNS: []netip.Addr{addr}}}, nil
}

func dnsSearch(value string) (Request, error) {
	domain, err := opts.ValidateDNSSearch(value)
	if err != nil || domain != "." && !hostForm.MatchString(domain) {
		return Request{}, fault{"is no domain", "write it as example.com"}
	}
	return Request{Kind: KindFree, Settings: Settings{DNSSearch: []string{domain}}}, nil
}

// dnsOptionForm keeps line breaks and further options out of resolv.conf.
var dnsOptionForm = regexp.MustCompile(`^[a-z0-9-]{1,40}(:[0-9]{1,5})?$`)

func dnsOption(value string) (Request, error) {
	if !dnsOptionForm.MatchString(value) {
		return Request{}, fault{"is no option of the resolver", "write it as ndots:1"}
	}
	return Request{Kind: KindFree, Settings: Settings{DNSOptions: []string{value}}}, nil
}
