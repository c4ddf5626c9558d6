package proxy

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
)

// failover is RFC 3263 §4.3 for the branch of a hop that is a URI: the request goes to one
// of its servers after the other, each time in a client transaction of its own with a
// branch parameter of its own, until one of them answers. What it answers is the branch's
// answer, and CANCEL and ACK belong to that transaction.
//
// A server has failed when it can't be connected to, when its flow breaks before anybody
// rang, when it answers 503, or when it stays silent until Timer B or F. While there are
// others the silence is broken off sooner, after Config.FailoverAfter.
type failover struct {
	branch *branch
	next   func(ctx context.Context) (sip.Server, error)
	tries  int // servers asked for; the seeker's

	// Guarded by the context's mu.
	current *attempt   // the last one that was begun
	seeking bool       // a goroutine looks for the next server
	spare   *candidate // the one to try next, before next is asked
}

// candidate is a server to be tried, by a flow where that is known.
type candidate struct {
	server sip.Server
	flow   sip.Flow // Transport 0: to be opened
	tcp    large
	pause  time.Duration // how long it is passed over when it fails, 0 for the usual time
	again  bool          // the connection to it broke before, and is opened anew
}

// attempt is the request on its way to one server.
type attempt struct {
	candidate
	of *failover

	// Guarded by the context's mu.
	client *transaction.Client
	heard  bool        // something was answered
	ended  *outcome    // it failed while the next server was being looked for
	timer  *time.Timer // until it counts as silent
}

// outcome is how an attempt failed: by a response or an error.
type outcome struct {
	tx  *transaction.Client
	m   *sip.Message
	err error
}

var _ transaction.ClientHandler = (*attempt)(nil)

const (
	// maxServers bounds the servers that one request is sent to. Whoever has more for a
	// name has a fault that is none of a single server.
	maxServers = 8

	// lateReply is how long another request than an INVITE may go without a response
	// although its server is there: over UDP it says so only when the client's Timer E has
	// reached T2 (RFC 4320 §4.1). An INVITE is answered with 100 within 200 ms.
	lateReply = 3500 * time.Millisecond

	// maxRetryAfter bounds what a 503 asks for, lest one odd answer close a trunk for days.
	maxRetryAfter = 10 * time.Minute
)

// errUnwanted says that the caller has gone, or has his answer from somebody else.
var errUnwanted = errors.New("proxy: cancelled")

func newFailover(b *branch) *failover {
	return &failover{branch: b, next: b.context.proxy.Locator.Locate(b.target.hop.uri), seeking: true}
}

// seek finds the next server that can be connected to and sends to it. One goroutine at a
// time does so: the one that set seeking.
func (f *failover) seek() {
	c := f.branch.context
	p := c.proxy
	for {
		to, err := f.nextCandidate()
		if err != nil {
			f.exhausted(err)
			return
		}
		if to.flow.Transport == 0 {
			ctx, cancel := context.WithTimeout(context.Background(), p.LookupTimeout)
			to.flow, err = p.dial(ctx, c.tx.Flow(), to.server)
			cancel()
		}
		if err == nil {
			f.begin(f.enlarge(to))
			return
		}
		p.Logger.Info("server unreachable", "call-id", c.callID, "host", f.branch.target.hop.uri.Host, "server", to.server, "error", err)
	}
}

func (f *failover) nextCandidate() (to candidate, err error) {
	c := f.branch.context
	c.mu.Lock()
	spare := f.spare
	f.spare = nil
	wanted := f.branch.wanted()
	c.mu.Unlock()
	switch {
	case !wanted:
		return to, errUnwanted
	case spare != nil:
		return *spare, nil
	}
	if f.tries++; f.next == nil || f.tries > maxServers {
		return to, io.EOF
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.proxy.LookupTimeout)
	defer cancel()
	to.server, err = f.next(ctx)
	return to, err
}

// begin sends the request to a server, unless the branch got its answer while it was looked
// for. From now on the attempt before it counts for nothing but a late 2xx.
func (f *failover) begin(to candidate) {
	b := f.branch
	c := b.context
	c.mu.Lock()
	f.seeking = false
	old := f.current
	if old != nil && old.heard && old.ended == nil {
		c.mu.Unlock()
		return
	}
	a := &attempt{of: f, candidate: to}
	f.current = a
	silent := old != nil && old.ended == nil
	var abandoned *transaction.Client
	if silent {
		abandoned = old.client
	}
	c.mu.Unlock()
	if silent {
		c.proxy.Locator.Failed(old.server, old.pause)
		c.proxy.Logger.Info("server silent", "call-id", c.callID, "server", old.server, "next", to.server)
	}
	if abandoned != nil {
		abandoned.Cancel("") // goes out if it answers after all (RFC 3261 §9.1)
	}
	b.send(to.flow, a)
}

// exhausted ends the branch as its last attempt ended, or as unreachable where none was
// begun. One that is merely silent goes on.
func (f *failover) exhausted(err error) {
	b := f.branch
	c := b.context
	c.mu.Lock()
	f.seeking = false
	last := f.current
	var end *outcome
	if last != nil {
		end = last.ended
	}
	c.mu.Unlock()
	switch {
	case last == nil && err == errUnwanted:
		b.fail(487)
	case last == nil:
		c.proxy.Logger.Info("next hop unreachable", "call-id", c.callID, "host", b.target.hop.uri.Host, "error", err)
		b.unreachable()
	case end != nil:
		f.deliver(end)
	}
}

// deliver gives the branch the failure of its last attempt.
func (f *failover) deliver(end *outcome) {
	if end.m != nil {
		f.branch.Response(end.tx, end.m)
		return
	}
	f.branch.Error(end.tx, end.err)
}

// sent notes the client transaction and starts the wait for a first response.
func (a *attempt) sent(client *transaction.Client) {
	c := a.of.branch.context
	wait := c.proxy.FailoverAfter
	if c.method != sip.INVITE {
		wait += lateReply
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a.client = client
	if !a.heard && a.ended == nil {
		a.timer = time.AfterFunc(wait, a.silent)
	}
}

// silent is called when a server has not answered in time.
func (a *attempt) silent() {
	f := a.of
	c := f.branch.context
	c.mu.Lock()
	seek := f.current == a && !a.heard && a.ended == nil && !f.seeking && f.branch.wanted()
	f.seeking = f.seeking || seek
	c.mu.Unlock()
	if seek {
		f.seek()
	}
}

// Response hears of a server. What a server answers after another one was tried is ignored,
// but for a 2xx: that makes a dialog, which the caller has to know of, and the other server
// is not needed any more.
func (a *attempt) Response(tx *transaction.Client, m *sip.Message) {
	f := a.of
	c := f.branch.context
	first, replaced, rival := a.hear()
	if first && m.Status() != 503 {
		c.proxy.Locator.Answered(a.server)
	}
	switch {
	case replaced && (m.Status() < 200 || m.Status() > 299):
		m.Release()
	case replaced:
		a.takeLeg(tx.Flow())
		f.branch.Response(tx, m)
		if rival != nil {
			rival.Cancel(reasonElsewhere)
		}
	case m.Status() == 503:
		if pause := retryAfter(m); pause > 0 {
			a.declined(pause)
		}
		a.failed(&outcome{tx: tx, m: m})
	default:
		f.branch.Response(tx, m)
	}
}

// takeLeg notes that the branch's leg is that of a server which was given up, unless the one after
// it has answered: then it is still that one's.
func (a *attempt) takeLeg(flow sip.Flow) {
	b := a.of.branch
	c := b.context
	c.mu.Lock()
	call, answered := c.call, c.winner == b
	c.mu.Unlock()
	if !answered {
		call.Moved(int(b.leg)-1, flow)
	}
}

// declined notes that the server wants to be left alone, by whichever transport.
func (a *attempt) declined(pause time.Duration) {
	s, l := a.server, a.of.branch.context.proxy.Locator
	l.Declined(s, pause)
	if a.tcp == tcpInstead {
		s.Transport = sip.UDP
		l.Declined(s, pause)
	}
}

// hear notes that the server answers. It returns whether it does so for the first time,
// and whether another server was tried meanwhile, with the transaction of that.
func (a *attempt) hear() (first, replaced bool, rival *transaction.Client) {
	c := a.of.branch.context
	c.mu.Lock()
	defer c.mu.Unlock()
	first = !a.heard
	a.heard = true
	a.stopTimer()
	current := a.of.current
	return first, current != a, current.client
}

// stopTimer ends the wait for a first response. The caller holds the context's mu.
func (a *attempt) stopTimer() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// Error hears that no response will come. A connection that breaks before it has brought
// one may be one that its server had just closed for having been idle: the server is tried
// once more over a new one before it counts as failed.
func (a *attempt) Error(tx *transaction.Client, err error) {
	c := a.of.branch.context
	c.mu.Lock()
	retry := !a.again && !a.heard && a.of.current == a && a.of.spare == nil &&
		a.flow.Transport.Reliable() && !errors.Is(err, transaction.ErrTimeout)
	if retry {
		a.of.spare = &candidate{server: a.server, tcp: a.tcp, pause: a.pause, again: true}
	}
	c.mu.Unlock()
	if !retry {
		c.proxy.Locator.Failed(a.server, a.pause)
	}
	c.proxy.Logger.Info("server failed", "call-id", c.callID, "server", a.server, "again", retry, "error", err)
	a.failed(&outcome{tx: tx, err: err})
}

// failed has the next server tried, unless somebody rang already, or the caller has gone.
func (a *attempt) failed(end *outcome) {
	f := a.of
	b := f.branch
	c := b.context
	c.mu.Lock()
	if f.current != a {
		c.mu.Unlock()
		return
	}
	a.ended = end
	a.stopTimer()
	if end.m != nil {
		f.spare = nil // the same server in another way
	}
	again := !b.rang && b.wanted()
	seek := again && !f.seeking
	f.seeking = f.seeking || seek
	c.mu.Unlock()
	switch {
	case !again:
		f.deliver(end)
	case seek:
		go f.seek()
	}
}

// retryAfter is what a response asks for, 0 where it asks for nothing that can be read
// (RFC 3261 §20.33).
func retryAfter(m *sip.Message) time.Duration {
	seconds, err := m.RetryAfter()
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}
