package resolver

import (
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// silentTime is how long a nameserver that did not answer is asked after the others.
const silentTime = 30 * time.Second

// nameservers are those that are asked, the ones that answer first.
type nameservers struct {
	log  *slog.Logger
	conf *file // nil where they were configured

	mu      sync.Mutex
	servers []netip.AddrPort
	down    map[netip.AddrPort]time.Time // asked last until then
}

func newNameservers(cfg *Config) *nameservers {
	n := &nameservers{log: cfg.Logger, servers: cfg.Servers, down: make(map[netip.AddrPort]time.Time)}
	if len(cfg.Servers) == 0 {
		n.conf = &file{path: cfg.ResolvConf}
	}
	return n
}

// list returns the nameservers in the order in which they are to be asked. Whoever was
// silent lately comes last.
func (n *nameservers) list() []netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conf != nil && n.conf.changed() {
		n.read()
	}
	if len(n.down) == 0 {
		return n.servers
	}
	now := time.Now()
	servers := slices.Clone(n.servers)
	slices.SortStableFunc(servers, func(a, b netip.AddrPort) int {
		return rank(now.Before(n.down[a])) - rank(now.Before(n.down[b]))
	})
	return servers
}

func rank(down bool) int {
	if down {
		return 1
	}
	return 0
}

// read reads resolv.conf. Without one, or without a server in it, the nameserver is the one
// on this machine (resolv.conf(5)).
func (n *nameservers) read() {
	n.servers = nil
	conf, err := dns.ClientConfigFromFile(n.conf.path)
	if err != nil {
		n.log.Warn("nameservers unknown, asking the one on this machine", "error", err)
		conf = &dns.ClientConfig{Port: "53"}
	}
	port, err := strconv.ParseUint(conf.Port, 10, 16)
	if err != nil {
		port = 53
	}
	for _, s := range conf.Servers {
		if addr, err := netip.ParseAddr(s); err == nil {
			n.servers = append(n.servers, netip.AddrPortFrom(addr, uint16(port)))
		} else {
			n.log.Warn("nameserver passed over", "file", n.conf.path, "error", err)
		}
	}
	if len(n.servers) == 0 {
		n.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))}
	}
	clear(n.down)
}

// silent notes a nameserver that did not answer.
func (n *nameservers) silent(s netip.AddrPort, err error) {
	n.mu.Lock()
	_, again := n.down[s]
	n.down[s] = time.Now().Add(silentTime)
	n.mu.Unlock()
	if !again {
		n.log.Warn("nameserver does not answer", "server", s, "error", err)
	}
}

// answered notes one that did.
func (n *nameservers) answered(s netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.down) > 0 {
		delete(n.down, s)
	}
}
