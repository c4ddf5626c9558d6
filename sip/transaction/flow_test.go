package transaction

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
)

// RFC 3261 §18.2.2, RFC 3581 §4.
func TestReplyFlow(t *testing.T) {
	const source = "192.0.2.1:6000"
	for _, test := range []struct {
		transport sip.Transport
		via, want string
	}{
		{sip.UDP, "SIP/2.0/UDP 192.0.2.1:5070;rport", source},
		{sip.UDP, "SIP/2.0/UDP 10.0.0.1:5070;rport", source},
		{sip.UDP, "SIP/2.0/UDP 192.0.2.1:5070", "192.0.2.1:5070"},
		{sip.UDP, "SIP/2.0/UDP 192.0.2.1", "192.0.2.1:5060"},
		{sip.UDP, "SIP/2.0/UDP 10.0.0.1:5070", "192.0.2.1:5070"},
		{sip.UDP, "SIP/2.0/UDP phone.example.test", "192.0.2.1:5060"},
		{sip.UDP, "SIP/2.0/UDP 10.0.0.1:5070;received=203.0.113.1", "192.0.2.1:5070"},
		{sip.UDP, "SIP/2.0/UDP 10.0.0.1:5070;received=203.0.113.1;rport=9", source},
		{sip.UDP, "SIP/2.0/UDP 192.0.2.1:5070;maddr=224.0.1.75", "224.0.1.75:5070"},
		{sip.UDP, "SIP/2.0/UDP 192.0.2.1;rport;maddr=224.0.1.75", "224.0.1.75:5060"},
		{sip.UDP, "SIP/2.0/UDP 192.0.2.1;maddr=[ff02::1]", "[ff02::1]:5060"},
		{sip.UDP, "SIP/2.0/UDP 192.0.2.1:5070;maddr=203.0.113.1", "192.0.2.1:5070"},
		{sip.UDP, "SIP/2.0/UDP 192.0.2.1:5070;maddr=sip.example.test", "192.0.2.1:5070"},
		{sip.TCP, "SIP/2.0/TCP 192.0.2.1:5070;maddr=224.0.1.75", source},
		{sip.WS, "SIP/2.0/WS df7jal23ls0d.invalid", source},
		{sip.WSS, "SIP/2.0/WSS df7jal23ls0d.invalid;rport", source},
	} {
		t.Run(test.via, func(t *testing.T) {
			f := sip.Flow{Transport: test.transport, Local: here, Remote: netip.MustParseAddrPort(source)}
			if test.transport.Reliable() {
				f.ID = 3
			}
			m := variant(t, sip.OPTIONS, f, "z9hG4bKs", "SIP/2.0/"+test.transport.String()+" 192.0.2.1:5070", test.via, ";rport\n", "\n")
			want := f
			want.Remote = netip.MustParseAddrPort(test.want)
			if got := replyFlow(f, m.Via()); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// A response goes out by the address and flow that its request says, to a retransmission
// too.
func TestResponsesGoToSentBy(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		from := udp
		from.Remote = netip.MustParseAddrPort("192.0.2.1:6000")
		m := variant(t, sip.OPTIONS, from, "z9hG4bKs", ";rport", "")
		r.Receive(from, m)
		r.reply(r.requests[0], 200)
		if got := r.sent().flow; got != udp {
			t.Errorf("sent on %v", got)
		}
	})
}

func TestRedialAddr(t *testing.T) {
	for _, test := range []struct {
		transport sip.Transport
		sentBy    string
		want      string // "" for none
	}{
		{sip.TCP, "192.0.2.1:5070", "192.0.2.1:5070"},
		{sip.TCP, "10.0.0.1", "192.0.2.1:5060"},
		{sip.TLS, "phone.example.test", "192.0.2.1:5061"},
		{sip.TLS, "phone.example.test:5063", "192.0.2.1:5063"},
		{sip.TCP, "x.invalid", ""},
		{sip.TLS, "X.Invalid:5061", ""},
		{sip.WS, "x.invalid", ""},
		{sip.WSS, "192.0.2.1:5070", ""},
		{sip.UDP, "192.0.2.1:5070", ""},
	} {
		via, err := sip.ParseVia(fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bKs", test.transport, test.sentBy))
		if err != nil {
			t.Fatal(err)
		}
		f := sip.Flow{Transport: test.transport, Local: here, Remote: netip.MustParseAddrPort("192.0.2.1:6000")}
		addr, ok := redialAddr(f, via.Host, via.Port)
		if ok != (test.want != "") || ok && addr.String() != test.want {
			t.Errorf("%s %s: %v, %v", test.transport, test.sentBy, addr, ok)
		}
	}
}

// Where a TCP flow has closed, responses wait for a new connection and go out in order.
func TestRedial(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		fresh := tcp
		fresh.ID, fresh.Remote = 99, there
		connected := make(chan struct{})
		r.dial = func(context.Context, sip.Transport, netip.AddrPort) (sip.Flow, error) {
			<-connected
			return fresh, nil
		}
		r.Receive(tcp, newRequest(t, sip.INVITE, tcp, "z9hG4bKs"))
		r.breaks(tcp)
		tx := r.requests[0]
		r.taken()
		r.reply(tx, 180)
		elapse(0)
		r.reply(tx, 183)
		r.reply(tx, 200)
		r.want("fail 180", "dial TCP 192.0.2.1:5070")
		close(connected)
		elapse(0)
		r.want("send 180", "send 183", "send 200")
		r.reply(tx, 200)
		r.want("send 200")
		if got := r.sent().flow; got != fresh {
			t.Errorf("sent on %v", got)
		}
	})
}

// What is answered while a connection is opened waits for it, as far as there is room: the last
// responses, and so the final one.
func TestRedialHasLittleRoom(t *testing.T) {
	var r redial
	for i := range byte(100) {
		r.put([]byte{i})
	}
	if len(r.unsent) != maxUnsent || r.unsent[0][0] != 100-maxUnsent || r.unsent[maxUnsent-1][0] != 99 {
		t.Errorf("%v", r.unsent)
	}
}

// The end of the attempt is told once; after it a response fails at once.
func TestRedialFails(t *testing.T) {
	for _, method := range []sip.Method{sip.INVITE, sip.OPTIONS} {
		bubble(t, Config{}, func(r *rig) {
			var deadline time.Duration
			r.dial = func(ctx context.Context, _ sip.Transport, _ netip.AddrPort) (sip.Flow, error) {
				at, _ := ctx.Deadline()
				deadline = time.Until(at)
				return sip.Flow{}, errBroken
			}
			r.Receive(tcp, newRequest(t, method, tcp, "z9hG4bKs"))
			r.breaks(tcp)
			tx := r.requests[0]
			r.taken()
			r.reply(tx, 486)
			elapse(0)
			r.want("fail 486", "dial TCP 192.0.2.1:5070", "tell transport")
			if deadline != 32*time.Second {
				t.Errorf("deadline in %v", deadline)
			}
			if method != sip.INVITE {
				r.wantEmpty()
				return
			}
			r.Receive(tcp, newRequest(t, sip.INVITE, tcp, "z9hG4bKs"))
			elapse(time.Minute)
			r.want("fail 486") // and neither the second error nor Timer H's is told
		})
	}
	// The new connection breaks while it is made use of.
	bubble(t, Config{}, func(r *rig) {
		fresh := tcp
		fresh.ID = 99
		r.breaks(tcp, fresh)
		r.dial = func(context.Context, sip.Transport, netip.AddrPort) (sip.Flow, error) { return fresh, nil }
		r.Receive(tcp, newRequest(t, sip.OPTIONS, tcp, "z9hG4bKs"))
		r.reply(r.requests[0], 200)
		elapse(0)
		r.want("request OPTIONS", "fail 200", "dial TCP 192.0.2.1:5070", "fail 200", "tell transport")
	})
}

// Where the sender takes no connection, the servers of its sent-by are tried, but only for
// whom that is allowed.
func TestRedialElsewhere(t *testing.T) {
	server := func(addr string) sip.Server {
		return sip.Server{Transport: sip.TCP, Addr: netip.MustParseAddrPort(addr)}
	}
	list := []sip.Server{server("192.0.2.1:5070"), server("192.0.2.2:5070"), server("192.0.2.3:5070"), server("192.0.2.4:5070")}
	for _, test := range []struct {
		name    string
		allowed bool
		takes   string // who takes a connection
		want    []string
	}{
		{"the next", true, "192.0.2.3:5070", []string{"fail 200", "dial TCP 192.0.2.1:5070", "dial TCP 192.0.2.2:5070", "dial TCP 192.0.2.3:5070", "send 200"}},
		{"none", true, "", []string{"fail 200", "dial TCP 192.0.2.1:5070", "dial TCP 192.0.2.2:5070", "dial TCP 192.0.2.3:5070", "dial TCP 192.0.2.4:5070", "tell transport"}},
		{"not allowed", false, "192.0.2.3:5070", []string{"fail 200", "dial TCP 192.0.2.1:5070", "tell transport"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Config{Elsewhere: func(f sip.Flow, host string, port uint16) func(context.Context) (sip.Server, error) {
				if f != tcp || host != "192.0.2.1" || port != 5070 {
					t.Errorf("asked for %v, %s:%d", f, host, port)
				}
				if !test.allowed {
					return nil
				}
				left := list
				return func(context.Context) (s sip.Server, err error) {
					if len(left) == 0 {
						return s, io.EOF
					}
					s, left = left[0], left[1:]
					return s, nil
				}
			}}
			bubble(t, cfg, func(r *rig) {
				fresh := tcp
				fresh.ID = 99
				r.dial = func(_ context.Context, _ sip.Transport, remote netip.AddrPort) (sip.Flow, error) {
					if remote.String() != test.takes {
						return sip.Flow{}, errBroken
					}
					fresh.Remote = remote
					return fresh, nil
				}
				r.Receive(tcp, newRequest(t, sip.OPTIONS, tcp, "z9hG4bKs"))
				r.breaks(tcp)
				r.taken()
				r.reply(r.requests[0], 200)
				elapse(0)
				r.want(test.want...)
			})
		})
	}
}

// Over WebSocket and UDP there is no other way, and Respond says so.
func TestNoRedial(t *testing.T) {
	for _, f := range []sip.Flow{udp, ws} {
		bubble(t, Config{}, func(r *rig) {
			r.Receive(f, newRequest(t, sip.INVITE, f, "z9hG4bKs"))
			r.breaks(f)
			err := r.requests[0].Reply(486, "")
			if !errors.Is(err, ErrTransport) || !errors.Is(err, errBroken) {
				t.Error(err)
			}
		})
	}
}

// A retransmission of a response that can't be sent is told once, and Timer H not at all.
func TestTransportErrorOfTimerG(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.invited(udp, 486)
		elapse(time.Second)
		r.breaks(udp)
		elapse(time.Minute)
		r.wantTimes("500ms send 486", "1.5s fail 486", "1.5s tell transport", "3.5s fail 486", "7.5s fail 486",
			"11.5s fail 486", "15.5s fail 486", "19.5s fail 486", "23.5s fail 486", "27.5s fail 486", "31.5s fail 486")
	})
}

// Layer.Request returns a transport error and calls nobody, whether Send says it or Closed,
// which a transport may call from within Send.
func TestRequestFails(t *testing.T) {
	for _, method := range []sip.Method{sip.INVITE, sip.OPTIONS} {
		for _, closes := range []bool{false, true} {
			bubble(t, Config{}, func(r *rig) {
				if closes {
					r.onSend = func(f sip.Flow, _ *sip.Message) { r.Closed(f, errBroken) }
				} else {
					r.breaks(tcp)
				}
				c, err := r.Layer.Request(tcp, newRequest(t, method, tcp, "z9hG4bKc"), clientRecorder{r})
				if c != nil || !errors.Is(err, ErrTransport) || !errors.Is(err, errBroken) {
					t.Errorf("%v, %v", c, err)
				}
				elapse(0)
				for _, line := range r.taken() {
					if line != "send "+string(method) && line != "fail "+string(method) {
						t.Error(line)
					}
				}
				r.wantEmpty()
			})
		}
	}
}

// A retransmission that can't be sent ends a client transaction, as does an ACK.
func TestTransportErrorOfClient(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.ask(udp, sip.OPTIONS, "z9hG4bKask")
		r.breaks(udp)
		elapse(time.Minute)
		r.wantTimes("0s send OPTIONS", "500ms fail OPTIONS", "500ms tell transport")
	})
	bubble(t, Config{}, func(r *rig) {
		_, req := r.call(udp)
		r.breaks(udp)
		r.Receive(udp, newResponse(req, 486))
		r.want("send INVITE", "fail ACK", "tell 486", "tell transport")
		r.wantEmpty()
	})
	// A CANCEL that can't be sent leaves the INVITE to its timer.
	bubble(t, Config{}, func(r *rig) {
		c, req := r.call(udp)
		r.Receive(udp, newResponse(req, 180))
		r.breaks(udp)
		c.Cancel("")
		elapse(time.Minute)
		r.wantTimes("0s send INVITE", "0s tell 180", "0s fail CANCEL", "32s tell timeout")
	})
}

// Closed ends what hangs on the flow, and that alone.
func TestClosed(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.ask(ws, sip.INVITE, "z9hG4bKa")
		r.ask(ws, sip.MESSAGE, "z9hG4bKb")
		r.ask(tcp, sip.MESSAGE, "z9hG4bKc")
		r.ask(udp, sip.MESSAGE, "z9hG4bKd")
		accepted := r.ask(ws, sip.INVITE, "z9hG4bKe")
		r.Receive(ws, newResponse(accepted, 200))
		r.Receive(ws, newRequest(t, sip.INVITE, ws, "z9hG4bKs"))
		r.Receive(ws, newRequest(t, sip.INFO, ws, "z9hG4bKt"))
		r.Receive(tcp, newRequest(t, sip.INVITE, tcp, "z9hG4bKu"))
		r.taken()

		r.Closed(ws, errBroken)
		r.want("tell transport", "tell transport", "tell transport")
		s := r.Stats()
		if s.InviteClients != 1 || s.Clients != 2 || s.InviteServers != 2 || s.Servers != 1 {
			t.Errorf("%+v", s)
		}
		r.Closed(ws, errBroken)
		r.Closed(udp, errBroken)
		r.want()
		r.Closed(tcp, errBroken)
		r.want("tell transport")
		for _, tx := range r.requests {
			_ = tx.Reply(500, "")
		}
	})
}

func TestMaxTransactions(t *testing.T) {
	bubble(t, Config{MaxTransactions: 2}, func(r *rig) {
		r.Receive(udp, newRequest(t, sip.INVITE, udp, "z9hG4bKa"))
		r.ask(udp, sip.INVITE, "z9hG4bKb")
		r.taken()
		r.Receive(udp, newRequest(t, sip.INVITE, udp, "z9hG4bKc"))
		r.want("send 503")
		if seconds, err := r.sent().m.RetryAfter(); err != nil || seconds == 0 {
			t.Errorf("sent %s", r.sent().m)
		}
		if n := r.Stats().Refused; n != 1 {
			t.Errorf("refused %d", n)
		}
		// What was admitted goes on.
		r.Receive(udp, newRequest(t, sip.CANCEL, udp, "z9hG4bKa"))
		r.want("send 200", "tell CANCEL")
		r.ask(udp, sip.BYE, "z9hG4bKd")
		r.want("send BYE")
		r.reply(r.requests[0], 487)
		elapse(time.Minute)
		r.taken()
		r.Receive(udp, newRequest(t, sip.INFO, udp, "z9hG4bKc"))
		r.want("request INFO")
		r.reply(r.requests[1], 200)
	})
}

// Requests with priority, by default those within a dialog, are served a little longer.
func TestPriority(t *testing.T) {
	for name, priority := range map[string]func(*sip.Message) bool{
		"in a dialog": nil, "the user's choice": func(m *sip.Message) bool { return m.Method() == sip.INFO },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{MaxTransactions: 8, Priority: priority}, func(r *rig) {
				for i := range 8 {
					r.ask(udp, sip.OPTIONS, fmt.Sprintf("z9hG4bK%d", i))
				}
				r.taken()
				r.Receive(udp, newRequest(t, sip.SUBSCRIBE, udp, "z9hG4bKa"))
				r.want("send 503")
				if seconds, err := r.sent().m.RetryAfter(); err != nil || seconds != retryOther {
					t.Errorf("sent %s", r.sent().m)
				}
				inDialog := func(branch string) *sip.Message {
					m := newRequest(t, sip.INFO, udp, branch)
					m.Set(sip.HTo, "<sip:bob@example.test>;tag=to")
					return m
				}
				r.Receive(udp, inDialog("z9hG4bKb"))
				r.want("request INFO")
				r.Receive(udp, inDialog("z9hG4bKc")) // an eighth more, and no more
				r.want("send 503")
				r.reply(r.requests[0], 200)
			})
		})
	}
}

func TestMalformed(t *testing.T) {
	bad := &sip.Error{Status: 400, Header: "From", Reason: "no address"}
	whole := func(method sip.Method, f sip.Flow) *sip.Message {
		return newRequest(t, method, f, "z9hG4bKs")
	}
	for _, test := range []struct {
		name string
		m    *sip.Message
		err  error
		want []string
	}{
		{"request", whole(sip.INVITE, udp), bad, []string{"send 400"}},
		{"wrapped", whole(sip.INVITE, udp), fmt.Errorf("frame: %w", bad), []string{"send 400"}},
		{"version", whole(sip.OPTIONS, udp), &sip.Error{Status: 505}, []string{"send 505"}},
		{"nothing", nil, bad, nil},
		{"ACK", whole(sip.ACK, udp), bad, nil},
		{"response", newResponse(whole(sip.INVITE, udp), 200), bad, nil},
		{"no Via", sip.NewRequest(sip.OPTIONS, "sip:bob@example.test"), bad, nil},
		{"no status", whole(sip.OPTIONS, udp), &sip.Error{}, nil},
		{"other error", whole(sip.OPTIONS, udp), errBroken, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.Malformed(udp, test.m, test.err)
				r.want(test.want...)
				if fault, ok := errors.AsType[*sip.Error](test.err); ok && len(test.want) > 0 && fault.Reason != "" {
					if got := r.sent().m.Reason(); got != fault.Reason {
						t.Errorf("reason %q", got)
					}
				}
			})
		})
	}
}

// A connection is needed for a call from the INVITE to the final response, whichever way it goes.
func TestInviting(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		check := func(what string, f sip.Flow, want bool) {
			t.Helper()
			if got := r.Inviting(f); got != want {
				t.Errorf("%s: %v", what, got)
			}
		}
		check("nothing", ws, false)
		r.ask(ws, sip.OPTIONS, "z9hG4bKask")
		check("an OPTIONS went out", ws, false)
		_, req := r.call(ws)
		check("an INVITE went out", ws, true)
		check("and not elsewhere", tcp, false)
		r.Receive(ws, newResponse(req, 180))
		check("it rings", ws, true)
		r.Receive(ws, newResponse(req, 486))
		check("it was answered", ws, false)

		r.Receive(ws, newRequest(t, sip.INVITE, ws, "z9hG4bKcame"))
		check("an INVITE came", ws, true)
		r.reply(r.requests[0], 200)
		check("it was answered", ws, false)
		check("UDP has no connections", udp, false)
	})
}

// A caller whose TCP connection has closed cancels over another one, his own or the one that was
// opened for a response, and acknowledges over it. Nobody else does so for him.
func TestCancelOverAnotherConnection(t *testing.T) {
	fresh, other, browser := tcp, tcp, ws
	fresh.ID, fresh.Remote = 99, netip.AddrPortFrom(there.Addr(), 6000)
	other.ID, other.Remote = 98, netip.MustParseAddrPort("192.0.2.2:5070")
	browser.ID = 97
	for _, test := range []struct {
		name        string
		first, then sip.Flow
		cancelled   bool
	}{
		{"TCP", tcp, fresh, true},
		{"TCP of another host", tcp, other, false},
		{"WebSocket", ws, browser, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.dial = func(context.Context, sip.Transport, netip.AddrPort) (sip.Flow, error) { return fresh, nil }
				r.Receive(test.first, newRequest(t, sip.INVITE, test.first, "z9hG4bKs"))
				tx := r.requests[0]
				r.reply(tx, 180)
				if test.cancelled {
					r.breaks(test.first)
				}
				r.taken()
				r.Receive(test.then, newRequest(t, sip.CANCEL, test.first, "z9hG4bKs"))
				if !test.cancelled {
					r.want("send 481")
					r.reply(tx, 487)
					return
				}
				r.want("send 200", "tell CANCEL")
				r.reply(tx, 487)
				elapse(0)
				r.want("fail 487", "dial TCP 192.0.2.1:5070", "send 487")
				r.Receive(test.then, newRequest(t, sip.ACK, test.first, "z9hG4bKs"))
				r.want()
			})
		})
	}
}
