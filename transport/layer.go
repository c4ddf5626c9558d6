package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
)

// Handler gets what a [Layer] receives. Its methods are called on the goroutine that reads
// the flow, in the order of its messages. That goroutine reads other flows as well, so a
// method must not wait; methods for different flows are called concurrently.
type Handler interface {
	// Receive gets a message. It owns m. A request's top Via says where it came from
	// (RFC 3261 §18.2.1, RFC 3581 §4).
	Receive(f sip.Flow, m *sip.Message)

	// Malformed gets what is not a message: err is a *sip.Error with the status that
	// answers it; m holds what was understood, and is nil where that isn't even the start
	// line.
	Malformed(f sip.Flow, m *sip.Message, err error)

	// Closed says that a connection has gone, and why. It is called once for each, after
	// the last Receive of the flow; by then Send to the flow fails.
	Closed(f sip.Flow, err error)
}

// Listener is an address that a [Layer] listens on.
type Listener struct {
	Transport sip.Transport
	Addr      netip.AddrPort
}

// Layer is the transport layer of RFC 3261 §18. Its methods are safe for concurrent use.
type Layer struct {
	cfg     Config
	handler Handler

	flows table
	udp   atomic.Pointer[[]*udpListener] // replaced, never modified
	calls dialer

	pollers pollers

	told     atomic.Int64           // second of the last line that tell logged
	sessions tls.ClientSessionCache // of servers that we dial

	ctx     context.Context // done when the layer is closed
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines and sockets; grows only while the layer is open

	mu        sync.Mutex // guards what follows; no other is taken while it is held
	closed    bool
	acceptors []io.Closer
	listeners []Listener
	sockets   map[*socket]struct{} // open streams, those of WebSocket handshakes among them
	census    census
}

// New returns a layer that listens nowhere yet. The handler may be nil and be set by
// [Layer.Handle] later, for a layer of transactions wants to know its transport first.
func New(cfg Config, h Handler) *Layer {
	l := &Layer{cfg: cfg.withDefaults(), handler: h, sockets: make(map[*socket]struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.flows.init()
	l.calls.init()
	l.sessions = tls.NewLRUClientSessionCache(0)
	return l
}

// Handle sets the handler. It must be called before Listen and Dial.
func (l *Layer) Handle(h Handler) { l.handler = h }

// Binding says what a listener is for, besides its address.
type Binding struct {
	Path    string // of the WebSocket resource; "" means "/"
	Proxied bool   // connections begin with the header of the PROXY protocol; not over UDP
}

// Listen listens on addr, "host:port", where port 0 means any free one, and returns the
// address it has got. An empty host means all addresses of IPv4 and IPv6.
func (l *Layer) Listen(t sip.Transport, addr string, b Binding) (netip.AddrPort, error) {
	var at netip.AddrPort
	var err error
	switch {
	case t == sip.UDP && !b.Proxied:
		at, err = l.listenUDP(addr)
	case t.Reliable() && t <= sip.WSS:
		at, err = l.listenStream(t, addr, b)
	default:
		err = ErrUnsupported
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen on %v %s: %w", t, addr, err)
	}
	return at, nil
}

// listening takes over an open listener, unless the layer is closed.
func (l *Layer) listening(t sip.Transport, at netip.AddrPort, acceptor io.Closer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		acceptor.Close()
		return ErrShutdown
	}
	l.acceptors = append(l.acceptors, acceptor)
	l.listeners = append(l.listeners, Listener{t, at})
	return nil
}

// Listeners returns what the layer listens on, in the order of the calls of Listen.
func (l *Layer) Listeners() []Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Listener(nil), l.listeners...)
}

// Send sends the message b over the flow. It never waits. Over UDP the bytes must not be
// modified afterwards; of those that wait for a stream it has a copy. No error means that the message is on its way, not that it arrives.
//
// The error wraps [ErrFlowClosed] when there is no such flow any more, and so do all errors
// that end a flow.
func (l *Layer) Send(f sip.Flow, b []byte) error {
	if f.Transport == sip.UDP {
		return l.sendUDP(f, b)
	}
	s := l.flows.shard(f.ID)
	c := l.flows.get(f.ID)
	if c == nil || c.flow.Transport != f.Transport {
		if f.Transport <= sip.WSS {
			s.tally[f.Transport].dropped.Add(1)
		}
		return ErrFlowClosed
	}
	err := c.send(b)
	s.tally[f.Transport].sent(len(b), err)
	if err != nil {
		c.shut(err)
		return fmt.Errorf("%w: %w", ErrFlowClosed, err)
	}
	return nil
}

// Alive reports whether the flow can be sent to: its connection is open, or, for UDP, its
// local address is one that the layer listens on.
func (l *Layer) Alive(f sip.Flow) bool {
	if f.Transport == sip.UDP {
		return l.udpFor(f) != nil
	}
	c := l.flows.get(f.ID)
	return c != nil && c.flow == f
}

// Flow returns the open connection with this incarnation.
func (l *Layer) Flow(id uint64) (sip.Flow, bool) {
	if c := l.flows.get(id); c != nil {
		return c.flow, true
	}
	return sip.Flow{}, false
}

// Flows returns the open connections, in no order.
func (l *Layer) Flows() []sip.Flow {
	all := l.flows.all()
	flows := make([]sip.Flow, len(all))
	for i, c := range all {
		flows[i] = c.flow
	}
	return flows
}

// CloseFlow closes the connection with this incarnation, if it is open. From now on Send to
// it fails; Closed gets the error.
func (l *Layer) CloseFlow(id uint64, err error) {
	if c := l.flows.get(id); c != nil {
		if err == nil {
			err = ErrFlowClosed
		}
		c.shut(err)
	}
}

// tell logs what strangers can bring about as often as they like, at most once a second.
func (l *Layer) tell(text string, attrs ...any) {
	now := time.Now().Unix()
	if last := l.told.Load(); last != now && l.told.CompareAndSwap(last, now) {
		l.cfg.Logger.Warn(text, attrs...)
	}
}

// receive hands one message to the handler, and has a connection note its first valid one
// before that: c is nil over UDP. It owns b, which has its exact size.
func (l *Layer) receive(f sip.Flow, b []byte, t *tally, c *connection) {
	m, err := l.parse(f, b, t)
	if err != nil {
		t.malformed.Add(1)
		l.handler.Malformed(f, m, err)
		return
	}
	if c != nil && !c.greeted.Load() {
		c.greet()
	}
	l.handler.Receive(f, m)
}

// refuse hands what the transport itself found a fault with to the handler, with as much of
// the message as can be read.
func (l *Layer) refuse(f sip.Flow, b []byte, fault error, t *tally) {
	m, _ := l.parse(f, b, t) // the fault is the one that was found first
	t.malformed.Add(1)
	l.handler.Malformed(f, m, fault)
}

func (l *Layer) parse(f sip.Flow, b []byte, t *tally) (*sip.Message, error) {
	t.in.Add(1)
	t.bytesIn.Add(uint64(len(b)))
	m, err := sip.Parse(b)
	if m != nil && m.IsRequest() {
		m.SetReceived(f.Remote)
	}
	return m, err
}

// isFilling reports whether b, received where a message could begin, is none: line ends
// and zeros that keep a NAT's binding or a connection open.
func isFilling(b []byte) bool {
	for _, c := range b {
		switch c {
		case '\r', '\n', ' ', '\t', 0:
		default:
			return false
		}
	}
	return true
}

// addrPort returns the address of a socket as it stands in flows: IPv4 is never mapped.
func addrPort(a net.Addr) netip.AddrPort {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		at = a.AddrPort()
	case *net.UDPAddr:
		at = a.AddrPort()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
