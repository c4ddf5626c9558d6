package transaction

import (
	"cmp"
	"context"
	"hash/maphash"
	"sync/atomic"

	"github.com/sipway/sipway/sip"
)

// Sender sends messages; it is a transport.
type Sender interface {
	// Send sends b on f. It never blocks. Over an unreliable transport neither side ever
	// modifies b afterwards, on a stream flow b is the caller's again when Send returns. An
	// error means that b has not been sent.
	Send(f sip.Flow, b []byte) error

	// Dial returns a flow to the server, an existing connection or a new one.
	Dial(ctx context.Context, to sip.Server) (sip.Flow, error)
}

// User is the core above the layer. Its methods are called without a lock held, on the
// goroutine that delivered the message, and must not block.
type User interface {
	// Request gets the server transaction of a new request. It answers by Server.Respond or
	// Server.Reply, now or later, and may set a handler. An INVITE is answered with 100 when
	// Request returns without a response, or later where Config.TryingDelay says so.
	Request(tx *Server)

	// Ack gets an ACK that ends no transaction: that of a 2xx (RFC 3261 §13.2.2.4), or a
	// stray one. It owns ack.
	Ack(f sip.Flow, ack *sip.Message)
}

// Answerer is a User that answers some requests without a transaction, as a server may that
// comes to the same answer when the request is repeated (RFC 3261 §8.2.7, §11.2).
type Answerer interface {
	// Answer returns the response to a request that belongs to no transaction, made by
	// Layer.NewResponse, or nil if User.Request is to get the request. It is called as the
	// methods of User are, and keeps neither message.
	Answer(f sip.Flow, m *sip.Message) *sip.Message
}

// Layer is a transaction layer. It takes what a transport delivers: a message, one that
// can't be read, and the end of a flow.
type Layer struct {
	periods periods
	limit   int64
	sender  Sender
	user    User
	answer  func(sip.Flow, *sip.Message) *sip.Message // of an Answerer, else nil

	priority  func(*sip.Message) bool
	elsewhere func(sip.Flow, string, uint16) func(context.Context) (sip.Server, error)

	clock   clock
	hash    hasher
	servers *table[*Server]
	clients *table[*Client]
	flows   *flowTable
	answers *answers

	live    [machines]counter
	strays  atomic.Uint64
	refused atomic.Uint64
}

// machine names a kind of machine in the counts.
type machine uint8

const (
	inviteClients machine = iota
	clients
	inviteServers
	servers
	machines
)

// counter has a cache line for itself.
type counter struct {
	atomic.Int64
	_ [56]byte
}

// Stats are counts of a [Layer].
type Stats struct {
	// The transactions that live now.
	InviteClients, Clients, InviteServers, Servers int
	// Strays counts the responses that matched no transaction and were dropped (RFC 6026
	// §8.9).
	Strays uint64
	// Refused counts the requests that were answered with 503 for want of room.
	Refused uint64
}

// New returns a layer that sends by sender and serves user.
func New(cfg Config, sender Sender, user User) *Layer {
	periods := newPeriods(cfg)
	if cfg.Priority == nil {
		cfg.Priority = func(m *sip.Message) bool { return m.ToTag() != "" }
	}
	l := &Layer{
		periods: periods,
		limit:   int64(cmp.Or(cfg.MaxTransactions, defaultMaxTransactions)),
		sender:  sender,
		user:    user,

		priority:  cfg.Priority,
		elsewhere: cfg.Elsewhere,

		hash:    hasher{maphash.MakeSeed()},
		servers: newTable[*Server](),
		clients: newTable[*Client](),
		flows:   newFlowTable(),
	}
	l.clock.start(&periods)
	l.answers = newAnswers(periods.timeout, &l.clock, &l.live[servers])
	if a, ok := user.(Answerer); ok {
		l.answer = a.Answer
	}
	return l
}

// Receive takes a message that was read from f. It is the layer's from then on, which may
// release it at once. A request must carry received and rport as [sip.Message.SetReceived] sets them.
func (l *Layer) Receive(f sip.Flow, m *sip.Message) {
	switch {
	case m.Via() == nil:
		// Neither matched nor answered without one.
	case !m.IsRequest():
		l.receiveResponse(m)
	case m.Method() == sip.ACK:
		l.receiveAck(f, m)
	default:
		l.receiveRequest(f, m)
	}
}

// Closed says that f has closed and why. Client transactions on it that wait for a final
// response end with ErrTransport. INVITE server transactions on a WebSocket, whose caller
// can't be reached in another way, have their handler told. The handlers are called on the
// goroutine that calls Closed.
func (l *Layer) Closed(f sip.Flow, err error) {
	if f.ID == 0 {
		return
	}
	for _, tx := range l.flows.take(f.ID) {
		tx.flowClosed(err)
	}
}

// Request sends m on f in a client transaction of its own and tells h, which may be nil, of
// its responses. m is any request but an ACK, its topmost Via has a branch that no other
// request of this element has. An INVITE is the layer's from then on, which releases it when
// no CANCEL and no ACK can be made of it any more, unless there is an error; any other request
// is the caller's again.
//
// The error is ErrBranch, or ErrTransport, wrapped, where the message could not be sent or
// the flow closed meanwhile; h is then not called. Otherwise h may be called before Request
// returns, but on another goroutine.
func (l *Layer) Request(f sip.Flow, m *sip.Message, h ClientHandler) (*Client, error) {
	if v := m.Via(); v == nil || !v.HasMagicCookie() || m.Method() == sip.ACK {
		return nil, ErrBranch
	}
	c := newClient(l, f, m, h)
	if !l.addClient(c) {
		return nil, ErrBranch
	}
	if err := c.start(m); err != nil {
		return nil, err
	}
	return c, nil
}

// Send sends m on f without a transaction, as an ACK to a 2xx is sent. m is the caller's again.
func (l *Layer) Send(f sip.Flow, m *sip.Message) error {
	if !f.Transport.Reliable() {
		return l.sender.Send(f, m.Bytes())
	}
	room := buffers.Get().(*buffer)
	defer room.release()
	return l.sender.Send(f, room.write(m))
}

// Stats returns the counts of this moment.
func (l *Layer) Stats() Stats {
	l.answers.sweepAll()
	return Stats{
		InviteClients: int(l.live[inviteClients].Load()),
		Clients:       int(l.live[clients].Load()),
		InviteServers: int(l.live[inviteServers].Load()),
		Servers:       int(l.live[servers].Load()),
		Strays:        l.strays.Load(),
		Refused:       l.refused.Load(),
	}
}

// receiveResponse passes a response to its transaction. RFC 6026 §8.9 drops all others.
func (l *Layer) receiveResponse(m *sip.Message) {
	branch, method := m.Via().Branch, m.Method()
	c := l.clients.find(l.hash.client(branch, method), func(c *Client) bool { return c.matches(branch, method) })
	if c == nil {
		l.strays.Add(1)
		m.Release()
		return
	}
	c.receive(m)
}

func (l *Layer) receiveAck(f sip.Flow, m *sip.Message) {
	if s := l.findInvite(f, m); s == nil || s.receiveAck() {
		l.user.Ack(f, m)
		return
	}
	m.Release()
}

func (l *Layer) receiveRequest(f sip.Flow, m *sip.Message) {
	r := l.hash.request(f, m, m.Method(), m.ToTag())
	s := l.find(r)
	switch {
	case s != nil:
		s.receive()
	case l.answeredBefore(&r):
	case m.Method() == sip.CANCEL:
		l.receiveCancel(r)
		return
	case l.answerStateless(f, m):
	case l.full(m):
		l.refuse(f, m)
	default:
		l.open(r)
		return
	}
	m.Release() // nobody was given it
}

// open gives a request that is a new one to the user, unless another copy of it has come at
// the same time: that one's transaction may be there, or may have ended with its answer.
func (l *Layer) open(r request) {
	s, fresh := l.addServer(r)
	switch {
	case !fresh:
		s.receive()
	case l.answeredBefore(&r):
		l.removeServer(s)
	default:
		s.begin()
	}
}

// answeredBefore answers a request that has had its final response and whose transaction has
// left that to [answers].
func (l *Layer) answeredBefore(r *request) bool {
	to, response, ok := l.answers.find(r)
	if ok && len(response) > 0 {
		_ = l.sender.Send(to, response) // or, if that fails, when the request comes again
	}
	return ok
}

// receiveCancel answers a CANCEL in a transaction of its own and passes it on (RFC 3261
// §9.2). It takes no regard of the limit: there is one CANCEL at most to an INVITE.
func (l *Layer) receiveCancel(r request) {
	invite := l.findMoved(l.hash.request(r.flow, r.Message, sip.INVITE, r.toTag))
	if invite == nil {
		l.replyStateless(r.flow, r.Message, 481, "")
		return
	}
	s, fresh := l.addServer(r)
	if !fresh {
		s.receive()
		return
	}
	// An error here is the flow's end, of which the INVITE hears by itself.
	_ = s.Reply(200, "")
	invite.receiveCancel(r.Message)
}

// full reports whether there is no room for a request. Those with priority have some that
// others have not: they end or keep what was admitted.
func (l *Layer) full(m *sip.Message) bool {
	var n int64
	for i := range l.live {
		n += l.live[i].Load()
	}
	return n >= l.limit && (n >= l.limit+l.limit/8 || !l.priority(m))
}

// addServer makes the server transaction of a request, unless another goroutine has just
// done so.
func (l *Layer) addServer(r request) (s *Server, fresh bool) {
	s = newServer(l, r.flow, r.Message)
	other := l.servers.insert(r.hash, s, func(s *Server) bool { return s.matches(&r) })
	if other != nil {
		return other, false
	}
	l.live[s.kind()].Add(1)
	if s.hangsOnFlow() {
		l.flows.join(s.flow.ID, &s.member, s)
	}
	return s, true
}

func (l *Layer) removeServer(s *Server) {
	l.servers.remove(s)
	l.live[s.kind()].Add(-1)
	if s.hangsOnFlow() {
		l.flows.leave(s.flow.ID, &s.member)
	}
}

func (l *Layer) addClient(c *Client) bool {
	hash := l.hash.client(c.branch, c.method)
	other := l.clients.insert(hash, c, func(o *Client) bool { return o.matches(c.branch, c.method) })
	if other != nil {
		return false
	}
	l.live[c.kind()].Add(1)
	if c.flow.ID != 0 {
		l.flows.join(c.flow.ID, &c.member, c)
	}
	return true
}

func (l *Layer) removeClient(c *Client) {
	l.clients.remove(c)
	l.live[c.kind()].Add(-1)
	if c.flow.ID != 0 {
		l.flows.leave(c.flow.ID, &c.member)
	}
}

func (s *Server) kind() machine {
	if s.id.method == sip.INVITE {
		return inviteServers
	}
	return servers
}

func (c *Client) kind() machine {
	if c.method == sip.INVITE {
		return inviteClients
	}
	return clients
}
