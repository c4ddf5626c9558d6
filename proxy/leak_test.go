package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

// chaos is thousands of calls among phones that answer, decline, redirect, say nothing, break
// off and come back as a seed has it.
type chaos struct {
	*world
	rand   *rand.Rand
	calls  int
	last   string                      // the INVITE sent last
	by     sip.Flow                    // and by whom
	open   map[string][]sip.Flow       // the connections of a user
	asked  map[sip.Flow][]*sip.Message // INVITEs that a phone has not answered
	nextID uint64
}

// Whatever becomes of calls, each that was counted, parked or noted is taken off the count
// once, and nothing of it is left when the last timer has fired.
func TestNothingLeaks(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.proxy.Park = 2 * time.Second
				w.proxy.Recurse = RecurseAny
				w.proxy.NoAnswer = 20 * time.Second * time.Duration(seed%2)
				c := &chaos{world: w, rand: rand.New(rand.NewPCG(seed, 1)), nextID: 100,
					open: make(map[string][]sip.Flow), asked: make(map[sip.Flow][]*sip.Message)}
				for range 2500 {
					c.step()
				}
				w.wait(20 * time.Minute) // nobody answers any more
				synctest.Wait()
				if s := w.proxy.Stats(); s.Calls != 0 || s.Parked != 0 || s.Merging != 0 {
					t.Errorf("of %d calls are left: %+v", c.calls, s)
				}
				if s := w.layer.Stats(); s.InviteClients+s.Clients+s.InviteServers+s.Servers != 0 {
					t.Errorf("transactions are left: %+v", s)
				}
				t.Logf("%d calls, %+v", c.calls, w.proxy.Stats())
				if c.calls < 300 || w.proxy.Stats().Finals[2] == 0 {
					t.Errorf("only %d calls, %v", c.calls, w.proxy.Stats().Finals)
				}
			})
		})
	}
}

var chaosUsers = []string{"alice", "bob", "carol", "dave"}

func (c *chaos) step() {
	user := chaosUsers[c.rand.IntN(len(chaosUsers))]
	switch c.rand.IntN(12) {
	case 0, 1:
		c.register(user)
	case 2:
		c.hangUp(user)
	case 3, 4, 5:
		c.call(user, chaosUsers[c.rand.IntN(len(chaosUsers))])
	case 6:
		if c.last != "" {
			c.receive(c.by, strings.NewReplacer("INVITE sip", "CANCEL sip", "1 INVITE", "1 CANCEL").Replace(c.last))
		}
	case 7:
		c.wait([]time.Duration{time.Millisecond, 500 * time.Millisecond, 3 * time.Second, 40 * time.Second, 4 * time.Minute}[c.rand.IntN(5)])
	default:
		c.answerSome()
	}
	synctest.Wait()
	c.read()
}

// register binds a user to a new connection, or a UDP address.
func (c *chaos) register(user string) {
	c.nextID++
	f := wsFlow(c.nextID, uint16(5000+c.nextID))
	contact := fmt.Sprintf("sip:%s@%d.invalid;transport=ws", user, c.nextID)
	switch c.rand.IntN(3) {
	case 0:
		f = sip.Flow{Transport: sip.UDP, Local: addr(5060), Remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), uint16(6000+c.rand.IntN(3)))}
		contact = fmt.Sprintf("sip:%s@%v", user, f.Remote)
	case 1:
		f.Transport, f.Local = sip.TCP, addr(5060)
		contact = fmt.Sprintf("sip:%s@192.0.2.30:%d;transport=tcp", user, f.Remote.Port())
	}
	if f.ID != 0 {
		c.world.open(f)
		c.auth.Bind(f, user+"@example.test", farFuture())
		c.open[user] = append(c.open[user], f)
	}
	c.mu.Lock()
	if list := c.bindings[user+"@example.test"]; len(list) > 3 {
		c.bindings[user+"@example.test"] = list[1:]
	}
	delete(c.lost, user+"@example.test")
	c.mu.Unlock()
	instance := ""
	if c.rand.IntN(2) == 0 {
		instance = fmt.Sprint("urn:uuid:", c.rand.IntN(2))
	}
	c.comeBackAs(user, contact, f, instance)
}

// hangUp closes a connection of a user's.
func (c *chaos) hangUp(user string) {
	flows := c.open[user]
	if len(flows) == 0 {
		return
	}
	f := flows[0]
	c.open[user] = flows[1:]
	c.mu.Lock()
	c.lost[user+"@example.test"] = true
	c.mu.Unlock()
	delete(c.asked, f)
	c.closeFlow(f)
}

func (c *chaos) call(from, to string) {
	flows := c.open[from]
	if len(flows) == 0 {
		return
	}
	c.by = flows[c.rand.IntN(len(flows))]
	c.calls++
	via := c.by.Transport.String() + " a.invalid"
	text := newRequest("INVITE", "sip:"+to+"@example.test", from+"@example.test", via)
	c.last = strings.NewReplacer("z9hG4bK", fmt.Sprint("z9hG4bK", c.calls), "Call-ID: call", fmt.Sprint("Call-ID: call", c.calls)).Replace(text)
	c.receive(c.by, c.last)
}

// read takes what was sent: requests are asked of phones, a final response is acknowledged as
// a rule.
func (c *chaos) read() {
	c.mu.Lock()
	wire := c.wire
	c.wire = nil
	c.mu.Unlock()
	for _, p := range wire {
		switch m := p.m; {
		case m.IsRequest() && m.Method() == sip.INVITE:
			c.asked[p.to] = append(c.asked[p.to], m)
		case m.IsRequest() && m.Method() != sip.ACK && c.rand.IntN(4) > 0 && c.Alive(p.to):
			c.respond(p.to, m, 200)
		case !m.IsRequest() && m.Status() >= 300 && m.CSeq().Method == sip.INVITE && c.rand.IntN(4) > 0 && c.Alive(p.to):
			via, _ := m.Get(sip.HVia)
			ack := newRequest("ACK", "sip:x@example.test", "x@example.test", "WS a.invalid")
			ack = strings.Replace(ack, "Via: ", "Via: "+via+"\nX: ", 1)
			ack = strings.Replace(ack, "Call-ID: call", "Call-ID: "+m.CallID(), 1)
			c.receive(p.to, strings.Replace(ack, "To: <sip:x@example.test>", "To: <sip:x@example.test>;tag="+m.ToTag(), 1))
		}
	}
}

// answerSome has phones answer some of what they were asked.
func (c *chaos) answerSome() {
	for _, f := range c.flowsAsked() {
		for _, m := range c.asked[f] {
			if !c.Alive(f) || c.rand.IntN(3) == 0 {
				continue
			}
			status := []int{100, 180, 180, 183, 200, 200, 302, 404, 408, 430, 480, 486, 487, 500, 503, 603}[c.rand.IntN(16)]
			contact := "Contact: <" + m.RequestURI() + ">"
			if status == 302 {
				contact = "Contact: <sip:" + chaosUsers[c.rand.IntN(4)] + "@example.test>, <sip:x@192.0.2.99>"
			}
			if c.rand.IntN(16) == 0 { // by somebody who drops our caller's Via
				m = m.Clone()
				top, _ := m.PopValue(sip.HVia)
				m.Remove(sip.HVia)
				m.Prepend(sip.HVia, top)
			}
			c.respond(f, m, status, contact)
		}
		if c.rand.IntN(2) == 0 {
			delete(c.asked, f)
		}
	}
}

// flowsAsked returns the phones that were asked, in one order.
func (c *chaos) flowsAsked() (flows []sip.Flow) {
	for f := range c.asked {
		flows = append(flows, f)
	}
	slices.SortFunc(flows, func(a, b sip.Flow) int { return strings.Compare(a.String(), b.String()) })
	return flows
}
