package transaction

import (
	"strings"

	"github.com/sipway/sipway/sip"
)

// ClientHandler hears of a client transaction. Its methods are called one at a time and in
// order, on the goroutine that brought the event, without a lock held; they must not block.
type ClientHandler interface {
	// Response gets every provisional response, the final one, and of an INVITE every
	// further 2xx that arrives within 64*T1 (RFC 6026 §7.2): retransmissions and those of
	// other branches of a fork. A provisional response never follows a final one. It owns m.
	Response(tx *Client, m *sip.Message)

	// Error gets ErrTimeout or, wrapped, ErrTransport, at most once. No response follows,
	// and none but a final one to an INVITE whose ACK could not be sent has gone before.
	Error(tx *Client, err error)
}

// Client is a client transaction, made by [Layer.Request].
type Client struct {
	transaction
	chain   link[*Client]
	branch  string
	method  sip.Method
	handler ClientHandler // nil where nobody cares

	// request is kept of an INVITE as long as an ACK or CANCEL may have to be made of it.
	request *sip.Message

	cancelled bool   // the user wants it cancelled
	reason    string // the Reason of the CANCEL

	// starting is set while Layer.Request runs, which returns a transport error itself.
	starting bool
	failure  error
}

// clientMachine is one of the two client machines. The transaction is locked.
type clientMachine interface {
	start() action
	response(m *sip.Message) action
	cancel() action
	retransmit() action
	timeout() action
	transportError(err error) action
}

func newClient(l *Layer, f sip.Flow, m *sip.Message, h ClientHandler) *Client {
	c := &Client{handler: h, branch: strings.Clone(m.Via().Branch), method: intern(m.Method())}
	c.layer, c.flow = l, f
	if !c.reliable() {
		c.last = m.Bytes()
	}
	if c.method == sip.INVITE {
		c.request = m
	}
	return c
}

func (c *Client) machine() clientMachine {
	if c.method == sip.INVITE {
		return (*inviteClient)(c)
	}
	return (*nonInviteClient)(c)
}

// Flow returns the flow that the request was sent on.
func (c *Client) Flow() sip.Flow { return c.flow }

// Cancel asks for an INVITE to be cancelled (RFC 3261 §9.1). The CANCEL goes out as soon as
// there is a provisional response, and not at all once there is a final one; that it was
// cancelled is told by the final response, a 487 as a rule, or by ErrTimeout where none
// comes within 64*T1 of the CANCEL. Of another method and when called again Cancel does
// nothing. reason is the value of a Reason header field (RFC 3326), "" for none.
//
// Cancel never calls the handler itself.
func (c *Client) Cancel(reason string) {
	c.mu.Lock()
	if c.cancelled {
		c.mu.Unlock()
		return
	}
	c.cancelled, c.reason = true, reason
	c.finish(c.machine().cancel())
}

// start sends the request, m. The error is that of the transport, and the transaction has
// ended.
func (c *Client) start(m *sip.Message) error {
	c.mu.Lock()
	c.starting = true
	do := c.machine().start()
	c.timers.sync(&c.layer.clock, (*clientTimers)(c))
	c.mu.Unlock()

	var err error
	if c.reliable() {
		err = c.layer.Send(c.flow, m)
	} else {
		err = c.layer.sender.Send(c.flow, do.send)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed(err)
		c.timers.sync(&c.layer.clock, (*clientTimers)(c))
	}
	c.starting = false
	return c.failure
}

// receive takes a response that matched.
func (c *Client) receive(m *sip.Message) {
	c.mu.Lock()
	do := c.machine().response(m)
	told := do.tell.m == m
	c.finish(do)
	if !told {
		m.Release()
	}
}

// clientTimers is a Client as its alarm and its lane see it.
type clientTimers Client

// Expire is called by alarm and lane.
func (t *clientTimers) Expire() {
	c := (*Client)(t)
	c.mu.Lock()
	switch c.timers.due(c.layer.clock.now()) {
	case lifetimeSlot:
		c.finish(c.machine().timeout())
	case retransmitSlot:
		c.finish(c.machine().retransmit())
	default:
		c.finish(action{})
	}
}

// flowClosed is called when the flow's transport has closed it.
func (c *Client) flowClosed(err error) {
	c.mu.Lock()
	c.finish(c.failed(err))
}

// failed is the event of a transport error; what it leaves to be told goes to the caller
// of Request while there is one, so that the handler isn't called before it knows the
// transaction.
func (c *Client) failed(cause error) action {
	do := c.machine().transportError(transportError(cause))
	if c.starting && do.tell.err != nil {
		c.failure, do.tell = do.tell.err, event{}
	}
	return do
}

// finish unlocks the transaction and does what the event left to be done.
func (c *Client) finish(do action) {
	c.timers.sync(&c.layer.clock, (*clientTimers)(c))
	teller := do.tell.some() && c.events.begin(do.tell)
	var cancel *sip.Message
	if do.cancel {
		cancel = newCancel(c.request, c.reason)
	}
	c.mu.Unlock()

	if do.send != nil {
		if err := c.layer.sender.Send(c.flow, do.send); err != nil {
			c.flowClosed(err)
		}
	}
	if cancel != nil {
		// If it can't be sent, neither could its retransmissions: the INVITE hears of its
		// flow's end by itself, or ends 64*T1 from now.
		_, _ = c.layer.Request(c.flow, cancel, nil)
	}
	if teller {
		c.tell(do.tell)
	}
}

// tell tells the handler of e and of every event that comes meanwhile.
func (c *Client) tell(e event) {
	for ok := true; ok; {
		switch h := c.handler; { // which nobody but the teller changes
		case h == nil && e.m != nil:
			e.m.Release()
		case h == nil:
		case e.err != nil:
			h.Error(c, e.err)
		default:
			h.Response(c, e.m)
		}
		c.mu.Lock()
		e, ok = c.events.take()
		if !ok && c.state == completed && c.method != sip.INVITE {
			c.handler = nil // it hears no more, and need not be held until Timer K
		}
		c.mu.Unlock()
	}
}

// end takes the transaction out of the tables; the machine is in Terminated.
func (c *Client) end() {
	c.last = nil
	c.forget()
	c.layer.removeClient(c)
}

// forget lets go of an INVITE's request. While that is being sent it is left to the collector.
func (c *Client) forget() {
	m := c.request
	c.request = nil
	if m != nil && !c.starting {
		m.Release()
	}
}

func (c *Client) link() *link[*Client] { return &c.chain }
