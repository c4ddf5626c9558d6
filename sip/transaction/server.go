package transaction

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/sip"
)

// ServerHandler hears of a server transaction after its request. Its methods are called one
// at a time and in order, on the goroutine that brought the event, without a lock held, and
// never before User.Request has returned; they must not block.
type ServerHandler interface {
	// Cancel gets the CANCEL of an INVITE that has no final response yet, once. The CANCEL
	// itself has been answered; the INVITE is to be answered with 487 (RFC 3261 §9.2).
	Cancel(tx *Server, cancel *sip.Message)

	// Error gets, at most once, ErrTimeout where no ACK came for a non-2xx response to an
	// INVITE, or where another request was left without a response for 64*T1; and, wrapped,
	// ErrTransport where a response could not be delivered after Respond had returned, or
	// where the WebSocket of an INVITE's caller has closed, be it before the final response
	// or, until the transaction ends, after it. After an ErrTransport the transaction goes
	// on, so as to absorb retransmissions (RFC 6026 §7.1): an INVITE that has no final
	// response is still to be given one.
	Error(tx *Server, err error)
}

// Server is a server transaction, made by the layer for a request that belongs to none.
type Server struct {
	transaction
	chain   link[*Server]
	id      identity
	request atomic.Pointer[sip.Message] // nil once it has its final response; set under mu
	replyTo netip.AddrPort              // where responses go over the flow
	arrived time.Duration               // on the layer's clock

	handler   ServerHandler
	released  bool // the user reads the request no more
	cancelled bool // a CANCEL has been passed on
	erred     bool // an error has been passed on
	sparing   bool // its final response is not repeated unasked,
	unheard   bool // if it is the first one
	left      bool // its final response is repeated by answers
	redial    *redial
}

// serverMachine is one of the two server machines. The transaction is locked.
type serverMachine interface {
	// start is called once the user has been given the request and has returned.
	start() action
	// again is a retransmission of the request.
	again() action
	// ack is an ACK; up says that it goes to the user.
	ack() (do action, up bool)
	// pending reports whether there is still something to cancel.
	pending() bool
	respond(status int, b []byte) (action, error)
	retransmit() action
	timeout() action
	transportError(err error) action
}

func newServer(l *Layer, f sip.Flow, m *sip.Message) *Server {
	s := &Server{id: newIdentity(f, m), replyTo: replyFlow(f, m.Via()).Remote, arrived: l.clock.now()}
	s.layer, s.flow = l, f
	s.request.Store(m)
	// What arrives before the user has seen the request waits until it has.
	s.events.telling = true
	if s.id.method == sip.INVITE {
		s.state = proceeding
	} else {
		s.state = trying
	}
	return s
}

func (s *Server) machine() serverMachine {
	if s.id.method == sip.INVITE {
		return (*inviteServer)(s)
	}
	return (*nonInviteServer)(s)
}

// reply is where responses go, unless another connection must be opened for them.
func (s *Server) reply() sip.Flow {
	f := s.flow
	f.Remote = s.replyTo
	return f
}

// Request returns the request, which must not be modified. Once the final response has been
// sent it is nil: over UDP a transaction lives on for 64*T1, and is not to hold the message
// for so long.
func (s *Server) Request() *sip.Message { return s.request.Load() }

// Release says that the user will read m no more, the request as he was given it, and that he
// has kept nothing but strings, clones and responses made of it. When the final response has
// been sent, too, its memory is another message's. It need not be called, and must be called
// but once.
func (s *Server) Release(m *sip.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.request.Load() != nil {
		s.released = true
		return
	}
	s.free(m)
}

// free releases the request, unless it goes on to be matched by.
func (s *Server) free(m *sip.Message) {
	waits := s.state == completed && s.id.method != sip.INVITE // what answers could not take over
	if s.id.legacy == nil && !waits {
		m.Release()
	}
}

// Flow returns the flow that the request arrived on.
func (s *Server) Flow() sip.Flow { return s.flow }

// Handle sets who hears of the transaction. It is called once, from User.Request or later;
// what happened before is told then.
func (s *Server) Handle(h ServerHandler) {
	s.mu.Lock()
	s.handler = h
	teller := !s.events.telling && len(s.events.queue) > 0
	if teller {
		s.events.telling = true
	}
	s.mu.Unlock()
	if teller {
		s.tell()
	}
}

// Sparing says whether a final response that is the first one to the request is sent but
// once, as long as the request does not come again (RFC 3261 §26.3.2.4): a client that has
// heard nothing repeats an INVITE by itself, and whose address was put into somebody else's
// request is not sent eleven answers to it. It makes no difference where the caller has
// been sent a provisional response, or to another request. The 100 is put off meanwhile.
func (s *Server) Sparing(on bool) {
	s.mu.Lock()
	s.sparing = on
	s.mu.Unlock()
}

// NewResponse makes a response to the request (RFC 3261 §8.2.6). An empty reason stands for
// the standard phrase. The To tag is the same for every response to this request and for
// the one to its CANCEL (RFC 3261 §9.2).
func (s *Server) NewResponse(status int, reason string) *sip.Message {
	s.mu.Lock() // lest the request be released meanwhile
	defer s.mu.Unlock()
	req := s.request.Load()
	if req == nil { // answered, so that Respond will send nothing
		req = sip.NewRequest(s.id.method, "")
	}
	return sip.NewResponse(req, status, reason, s.layer.tag(req))
}

// Reply is Respond with a response of NewResponse, at less cost.
func (s *Server) Reply(status int, reason string) error { return s.ReplyWith(status, reason, nil) }

// ReplyWith is Reply with further header fields, whole lines that are the caller's again when
// it returns.
func (s *Server) ReplyWith(status int, reason string, fields []byte) error {
	if !s.forgets(status) {
		return s.replyWith(nil, status, reason, fields)
	}
	room := buffers.Get().(*buffer)
	defer room.release()
	return s.replyWith(room.empty(), status, reason, fields)
}

func (s *Server) replyWith(room []byte, status int, reason string, fields []byte) error {
	b, tag := s.replyBytes(room, status, reason, fields)
	if b == nil {
		return ErrAnswered
	}
	return s.respond(status, b, tag)
}

// replyBytes writes the response of ReplyWith into room, where there is some, and returns its
// To tag too. There is no response where there was a final one.
func (s *Server) replyBytes(room []byte, status int, reason string, fields []byte) (b []byte, tag string) {
	s.mu.Lock() // lest the request be released meanwhile
	defer s.mu.Unlock()
	req := s.request.Load()
	if req == nil {
		return nil, ""
	}
	if tag = req.ToTag(); tag == "" && status > 100 {
		tag = s.layer.tag(req)
	}
	if room == nil && fields == nil {
		return sip.ResponseBytes(req, status, reason, tag), tag
	}
	return sip.AppendResponse(room, req, status, reason, tag, fields), tag
}

// Respond sends a response. Its bytes are taken at once; m is the caller's again.
//
// After a final response the error is ErrAnswered, but for a 2xx that follows a 2xx to an
// INVITE: that is sent (RFC 6026 §7.1). A wrapped ErrTransport says that the response could
// not be sent and that there is no other way to send it. Over TCP and TLS there is: where
// the flow has closed, a connection to the sender is opened (RFC 3261 §18.2.2), Respond
// returns nil, and a failure goes to ServerHandler.Error.
//
// To a request other than INVITE three responses are not sent, and the error is nil (RFC
// 4320 §4): one from 101 to 199; a 100 over UDP before the client's Timer E can have
// reached T2, for the transaction itself sends one at that time; and a 408, which ends the
// transaction without a response.
func (s *Server) Respond(m *sip.Message) error {
	if !s.forgets(m.Status()) {
		return s.respond(m.Status(), m.Bytes(), m.ToTag())
	}
	room := buffers.Get().(*buffer)
	defer room.release()
	return s.respond(m.Status(), room.write(m), m.ToTag())
}

// forgets reports whether neither the machine nor the sender keeps the bytes of a response:
// those of a final one, which a non-INVITE machine copies where it may have to repeat it, and
// an INVITE's has not to over a reliable transport, unless it is acknowledged to us.
func (s *Server) forgets(status int) bool {
	return status >= 200 && (s.id.method != sip.INVITE || s.reliable() && status < 300)
}

// respond sends the bytes of a response with this status and To tag.
func (s *Server) respond(status int, b []byte, toTag string) error {
	s.mu.Lock()
	do, err := s.machine().respond(status, b)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	if status >= 200 {
		if s.id.legacy != nil {
			s.id.legacy.ackTag = strings.Clone(toTag)
		}
		if m := s.request.Swap(nil); m != nil && s.released {
			s.free(m)
		}
	}
	return s.finish(do)
}

// begin gives the request to the user, then starts the machine, then tells what arrived
// meanwhile.
func (s *Server) begin() {
	s.layer.user.Request(s)
	s.mu.Lock()
	s.settle(s.machine().start())
	s.tell()
}

// receive takes a retransmission of the request.
func (s *Server) receive() {
	s.mu.Lock()
	s.settle(s.machine().again())
}

// receiveAck takes an ACK and reports whether it is the user's.
func (s *Server) receiveAck() (up bool) {
	s.mu.Lock()
	do, up := s.machine().ack()
	s.settle(do)
	return up
}

// receiveCancel passes on the CANCEL of the request, the first one, as long as there is
// something to cancel.
func (s *Server) receiveCancel(m *sip.Message) {
	s.mu.Lock()
	var do action
	if !s.cancelled && s.machine().pending() {
		s.cancelled = true
		do.tell.m = m
	}
	s.settle(do)
}

// serverTimers is a Server as its alarm and its lane see it.
type serverTimers Server

// Expire is called by alarm and lane.
func (t *serverTimers) Expire() {
	s := (*Server)(t)
	s.mu.Lock()
	switch s.timers.due(s.layer.clock.now()) {
	case lifetimeSlot:
		s.settle(s.machine().timeout())
	case retransmitSlot:
		s.settle(s.machine().retransmit())
	default:
		s.settle(action{})
	}
}

// flowClosed is called when the flow's transport has closed it.
func (s *Server) flowClosed(err error) { s.failed(err) }

// failed is the event of a transport error that nobody waits for.
func (s *Server) failed(cause error) {
	s.mu.Lock()
	s.settle(s.machine().transportError(transportError(cause)))
}

// settle is finish for an event that nobody waits for: its transport error is an event too.
func (s *Server) settle(do action) {
	if err := s.finish(do); err != nil {
		s.failed(err)
	}
}

// finish unlocks the transaction and does what the event left to be done. The error is that
// of sending and matches ErrTransport.
func (s *Server) finish(do action) error {
	s.timers.sync(&s.layer.clock, (*serverTimers)(s))
	if do.tell.err != nil {
		if s.erred {
			do.tell = event{}
		}
		s.erred = true
	}
	teller := do.tell.some() && s.events.put(do.tell)
	var err error
	if out, now := s.route(do.send); now {
		// Under the lock: responses that come from several branches at once leave in the
		// order in which they were accepted, and none after the final one.
		if err = s.layer.sender.Send(out, do.send); err != nil {
			err = s.divert(do.send, err)
		}
	}
	s.mu.Unlock()
	if teller {
		s.tell()
	}
	return err
}

// tell tells the handler of every event there is, if there is a handler.
func (s *Server) tell() {
	for {
		s.mu.Lock()
		h := s.handler
		if h == nil {
			s.events.telling = false
			s.mu.Unlock()
			return
		}
		e, ok := s.events.take()
		s.mu.Unlock()
		switch {
		case !ok:
			return
		case e.err != nil:
			h.Error(s, e.err)
		default:
			h.Cancel(s, e.m)
		}
	}
}

// trying100 is the 100 that the transaction itself sends. It has no To tag (RFC 3261
// §17.2.1).
func (s *Server) trying100() []byte {
	return sip.ResponseBytes(s.request.Load(), 100, "", "")
}

// end takes the transaction out of the tables; the machine is in Terminated.
func (s *Server) end() {
	s.last = nil
	s.layer.removeServer(s)
}

// hangsOnFlow says whether the end of the flow is an event. The caller of an INVITE over
// WebSocket is then gone for good, as it can't be connected to; over TCP and TLS it may be
// reached by a new connection.
func (s *Server) hangsOnFlow() bool {
	return s.flow.Transport.WebSocket() && s.id.method == sip.INVITE
}

func (s *Server) link() *link[*Server] { return &s.chain }
