//go:build linux

package load

import (
	"fmt"
	"net/netip"
	"time"
)

// registerWindow is how many registrations are in flight while preparing.
const registerWindow = 20

// Prepare makes ready for n operations: it opens and registers the agents
// that are not there yet, and gets new nonces for operations that need them.
// What the server spends on it belongs to no measurement.
func (l *Load) Prepare(op Op, n int) error {
	for _, tr := range []Transport{op.Caller, op.Callee} {
		if tr == "" || l.agents[tr] != nil {
			continue
		}
		if err := l.enlist(tr); err != nil {
			return err
		}
	}
	if op.kind() == "authcall" && l.callers[op.Caller] == nil {
		if err := l.openCallers(op.Caller); err != nil {
			return err
		}
	}
	if l.ready[op] == nil {
		l.ready[op] = l.newExchanges(op)
	}
	if kind := op.kind(); l.target.Echo || kind != "register" && kind != "authcall" {
		return nil
	}
	if each := n/l.pairs + 1; each > maxNonceCount {
		return fmt.Errorf("%d operations are %d for each agent: more than a nonce serves (%d)", n, each, maxNonceCount)
	}
	if op.kind() == "authcall" {
		return l.askNonces(op)
	}
	for _, a := range l.agents[op.Caller] {
		a.nonce = nil
	}
	return l.register(op.Caller, l.ready[op], l.pairs)
}

// enlist opens the agents of a transport and registers them. All UDP callers
// share one socket, on TrustedSource, and all UDP callees another.
func (l *Load) enlist(tr Transport) error {
	var shared [2]*conn
	for n := range 2 * l.pairs {
		source := sources[tr]
		if tr == UDP && n%2 == 0 {
			source = TrustedSource
		}
		a, err := l.newAgent(tr, n, source, shared[n%2])
		if err != nil {
			return err
		}
		shared[n%2] = a.conn
		l.agents[tr] = append(l.agents[tr], a)
	}
	if l.target.Echo {
		return nil
	}
	for _, a := range l.agents[tr] {
		l.bindings[tr] = append(l.bindings[tr], l.newRegister(a))
	}
	return l.register(tr, l.bindings[tr], 2*l.pairs)
}

func (l *Load) register(tr Transport, xs []exchange, n int) error {
	result := l.drive(xs, n, Pace{Window: registerWindow}, func() error { return nil })
	if err := result.Err(); err != nil {
		return fmt.Errorf("registering over %s: %w", tr, err)
	}
	return nil
}

// newExchanges makes the exchanges of an operation.
func (l *Load) newExchanges(op Op) []exchange {
	callers, callees := l.agents[op.Caller], l.agents[op.Callee] // callers at 2i, callees at 2i+1
	var xs []exchange
	switch op.kind() {
	case "register":
		// The callees, for they are challenged on every transport.
		for n, a := range callers {
			if n%2 == 0 {
				xs = append(xs, nil)
			} else if l.target.Echo {
				xs = append(xs, l.newRegisterEcho(l.newRegister(a)))
			} else {
				xs = append(xs, l.bindings[op.Caller][n])
			}
		}
	case "options":
		for i := range l.pairs {
			o := l.newOptions(i, callers[2*i])
			if l.target.Echo {
				xs = append(xs, &echo{load: l, steps: []step{{o.agent.conn, o.request, 1}}})
				continue
			}
			xs = append(xs, o)
		}
	default:
		for i := range l.pairs {
			caller := callers[2*i]
			if op.kind() == "authcall" {
				caller = l.callers[op.Caller][i]
			}
			c := l.newCall(i, caller, callees[2*i+1], op.kind() == "authcall")
			if l.target.Echo {
				xs = append(xs, l.newCallEcho(c))
				continue
			}
			xs = append(xs, c)
		}
	}
	return xs
}

// Run performs n operations for which Prepare was called. Several times a
// second it calls aside, which may Serve other Loads, and whose error ends it.
func (l *Load) Run(op Op, n int, p Pace, aside func() error) Result {
	r, err := yielding(func() Result { return l.drive(l.ready[op], n, p, aside) })
	if err != nil {
		r.fail(err, nil)
	}
	return r
}

// OpenIdle opens n WebSocket clients that say nothing.
func (l *Load) OpenIdle(n int) error {
	for i := range n {
		if _, err := l.open(WS, netip.Addr{}); err != nil {
			return fmt.Errorf("idle client %d of %d: %w", i+1, n, err)
		}
		if i%100 == 0 {
			// Pings of the server are answered in the meantime, too.
			if err := l.Serve(0); err != nil {
				return err
			}
		}
	}
	return nil
}

// RegisterIdle registers every user of the WS side, one connection each.
func (l *Load) RegisterIdle() error { return l.enlist(WS) }

// Serve answers the server's keepalives for d while no operation runs. A
// closed connection is an error, and so is a message on one; a datagram may be
// a late retransmission.
func (l *Load) Serve(d time.Duration) error {
	var unexpected error
	deliver := func(c *conn, b []byte) {
		if c.transport == UDP {
			return
		}
		unexpected = fmt.Errorf("idle client %v got a message: %q", c.local, b)
	}
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if err := l.turn(min(max(left, 0), checkInterval), deliver); err != nil {
			return err
		}
		if unexpected != nil || left <= 0 {
			return unexpected
		}
	}
}

// Ready tells whether the server accepts connections and answers an OPTIONS
// request over UDP within a second.
func Ready(t Target) error {
	l, err := New(t, 1)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := l.open(UDP, netip.Addr{})
	if err != nil {
		return err
	}
	for _, stream := range []struct {
		Transport
		netip.AddrPort
	}{{TCP, t.TCP}, {WS, t.WS}} {
		if _, err := l.open(stream.Transport, netip.Addr{}); err != nil {
			return err
		}
	}
	a := &agent{load: l, transport: UDP, user: "ready", conn: c}
	a.identify(t)
	o := l.newOptions(0, a)
	if err := o.start(1); err != nil {
		return err
	}
	answered := fmt.Errorf("no answer to OPTIONS")
	err = l.turn(time.Second, func(from *conn, b []byte) {
		if answered = l.message.scan(b); answered == nil && !t.Echo {
			_, answered = o.receive(from, &l.message)
		}
	})
	if err != nil {
		return err
	}
	return answered
}
