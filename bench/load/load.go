//go:build linux

// Package load is the load generator of the server benchmark: user agents
// that register, call and ask for options, and that cost less processor time
// than the server they drive.
//
// Every agent of a run lives on one goroutine around one epoll set. A message
// is a template with a few fixed-width fields patched in, a received message
// is scanned once for the dozen headers that a check or an answer needs, and
// nothing is allocated per operation. Only what the benchmark sends is
// understood; this is no SIP stack and shares no code with the server.
//
// Lean does not mean blind. A caller insists on the response it is waiting
// for (status, Call-ID, CSeq, own Via branch alone, tags), takes route set and
// remote target from the 200 (RFC 3261 §12.1.2) and sends ACK and BYE along
// them (§12.2.1.1). A callee insists on its own contact as Request-URI, on an
// unharmed body, on a decremented Max-Forwards and on an emptied route set.
// Each message of a call is sent on receipt of the one before it, even across
// the two agents (180 arrived -> 200 is sent, ACK arrived -> BYE is sent), so
// that a server with several processes never races with itself and each call
// is the same 13 messages.
//
// Protocols: RFC 3261 (SIP), RFC 7616 with MD5 (digest), RFC 7118 and RFC 6455
// (SIP over WebSocket), RFC 3581 (rport). Linux only.
package load

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Transport is how an agent reaches the server.
type Transport string

// The transports of the benchmark.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	WS  Transport = "ws"
)

// Target is a server under test. All its addresses are on this machine.
type Target struct {
	UDP, TCP, WS netip.AddrPort
	Domain       string // of all users
	Password     string // of all users
	Echo         bool   // sends every message back, an INVITE twice; knows no SIP
}

// TrustedSource is where UDP callers send from. No target may challenge their
// calls: a caller on a connection has proven who it is by registering on it,
// the source of a datagram proves nothing.
var TrustedSource = netip.AddrFrom4([4]byte{127, 0, 0, 2})

// ChallengedSource is where the callers of authcall operations send from, on
// connections on which nobody has registered. Every target must challenge
// their calls.
var ChallengedSource = netip.AddrFrom4([4]byte{127, 0, 0, 5})

// sources are where agents on connections connect from, an address for each
// transport: by itself the kernel gives a TCP and a WebSocket client the same
// address and port, for they lead to different ports of the server, and
// Kamailio, which looks connections up by the client's side alone, then sends
// to the wrong one.
var sources = map[Transport]netip.Addr{
	TCP: netip.AddrFrom4([4]byte{127, 0, 0, 3}),
	WS:  netip.AddrFrom4([4]byte{127, 0, 0, 4}),
}

func (t Target) address(tr Transport) netip.AddrPort {
	switch tr {
	case UDP:
		return t.UDP
	case TCP:
		return t.TCP
	default:
		return t.WS
	}
}

// Load drives one target. It is not safe for concurrent use.
type Load struct {
	// Timed has runs note how long each operation takes.
	Timed bool

	target Target
	pairs  int
	run    string // 8 hexadecimal digits, different in every process

	poll    int // epoll set
	events  [64]unix.EpollEvent
	conns   map[int]*conn          // by descriptor
	agents  map[Transport][]*agent // caller and callee of each pair in turn
	callers map[Transport][]*agent // those of each pair that are challenged
	in      []byte                 // what is being read
	out     []byte                 // what is being sent; begins with headroom
	message message
	seq     uint32 // number of the last operation
	ready   map[Op][]exchange
	// bindings are the registrations of agents, at the agents' places.
	bindings map[Transport][]exchange
}

// An exchange is one operation at a time between a fixed pair of agents and
// the server. Its receive tells when the operation is complete; an error
// ends it as failed.
type exchange interface {
	fmt.Stringer // its state, for the report of a failure
	start(seq uint32) error
	receive(from *conn, m *message) (done bool, err error)
}

// New returns a Load with pairs callers and as many callees per transport.
// Sockets are opened by Prepare. The caller must Close it.
func New(t Target, pairs int) (*Load, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	var id [4]byte
	rand.Read(id[:])
	return &Load{
		target:   t,
		pairs:    pairs,
		run:      hex.EncodeToString(id[:]),
		poll:     poll,
		conns:    make(map[int]*conn),
		agents:   make(map[Transport][]*agent),
		callers:  make(map[Transport][]*agent),
		ready:    make(map[Op][]exchange),
		bindings: make(map[Transport][]exchange),
		in:       make([]byte, 64<<10),
		out:      make([]byte, headroom, 64<<10),
	}, nil
}

// Close closes all sockets. Registrations are left to expire.
func (l *Load) Close() {
	for _, c := range l.conns {
		unix.Close(c.fd)
	}
	unix.Close(l.poll)
}

// Users names every user that a Load with so many pairs may register.
func Users(pairs int) []string {
	var names []string
	for _, tr := range []Transport{UDP, TCP, WS} {
		for i := range pairs {
			names = append(names, userName(tr, false, i), userName(tr, true, i))
		}
	}
	return names
}

func userName(tr Transport, callee bool, i int) string {
	if callee {
		return fmt.Sprintf("%s-b%04d", tr, i)
	}
	return fmt.Sprintf("%s-a%04d", tr, i)
}

// Op is a kind of operation.
type Op struct {
	Name           string
	Caller, Callee Transport // Callee is empty where only one agent acts
}

// ParseOp reads an operation's name: "options-T", "register-T", "call-T-T" or
// "authcall-T-T" with udp, tcp or ws for T.
func ParseOp(name string) (Op, error) {
	parts := strings.Split(name, "-")
	for _, p := range parts[1:] {
		if t := Transport(p); t != UDP && t != TCP && t != WS {
			return Op{}, fmt.Errorf("operation %q: %q is no transport (udp, tcp, ws)", name, p)
		}
	}
	switch {
	case len(parts) == 2 && (parts[0] == "options" || parts[0] == "register"):
		return Op{Name: name, Caller: Transport(parts[1])}, nil
	case len(parts) == 3 && (parts[0] == "call" || parts[0] == "authcall"):
		return Op{Name: name, Caller: Transport(parts[1]), Callee: Transport(parts[2])}, nil
	}
	return Op{}, fmt.Errorf("operation %q: want options-T, register-T, call-T-T or authcall-T-T", name)
}

func (o Op) kind() string {
	kind, _, _ := strings.Cut(o.Name, "-")
	return kind
}
