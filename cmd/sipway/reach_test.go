package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store/dsn"
	"github.com/sipway/sipway/transport/dnstest"
)

// site is a server with a nameserver of its own, that trusts everybody on loopback.
type site struct {
	*server
	dns *dnstest.Server
	udp netip.AddrPort
}

func newSite(t *testing.T) *site {
	t.Helper()
	l := &site{dns: dnstest.Start(t)}
	cfg := config.Default()
	cfg.Store, cfg.Admin = "memory:", ""
	cfg.Auth.Mode = config.AuthNone
	cfg.Listen = []config.Listener{{Transport: sip.UDP, Addr: "127.0.0.1:0"}, {Transport: sip.TCP, Addr: "127.0.0.1:0"}}
	loopback, err := auth.ParsePeer("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Trusted = []config.Peer{{Peer: loopback}}
	cfg.DNS.Servers = []config.Nameserver{{AddrPort: l.dns.Addr}}
	cfg.Proxy.FailoverAfter = 500 * time.Millisecond
	st, err := dsn.Open(t.Context(), string(cfg.Store), dsn.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if l.server, err = newServer(cfg, st, newOffice(cfg), new(encryption), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := l.shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	l.udp = l.transport.Listeners()[0].Addr
	return l
}

// peer is the other end of the wire: a UDP socket, and a TCP listener on the same port
// where it has one.
type peer struct {
	t    *testing.T
	addr netip.AddrPort
	udp  *net.UDPConn
	in   chan arrival
}

// arrival is a message that a peer got, and the way back.
type arrival struct {
	*sip.Message
	over   sip.Transport
	answer func([]byte) error
	close  func() error
}

func newPeer(t *testing.T, tcp bool) *peer {
	t.Helper()
	return newPeerAt(t, "127.0.0.1", tcp)
}

func newPeerAt(t *testing.T, host string, tcp bool) *peer {
	t.Helper()
	for {
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(host+":0")))
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{t: t, udp: udp, addr: udp.LocalAddr().(*net.UDPAddr).AddrPort(), in: make(chan arrival, 100)}
		if tcp {
			ln, err := net.Listen("tcp", p.addr.String())
			if err != nil { // another program has the port
				udp.Close()
				continue
			}
			t.Cleanup(func() { ln.Close() })
			go p.accept(ln)
		}
		t.Cleanup(func() { udp.Close() })
		go p.readUDP()
		return p
	}
}

func (p *peer) readUDP() {
	for b := make([]byte, 1<<16); ; {
		n, from, err := p.udp.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if m, err := sip.Parse(bytes.Clone(b[:n])); err == nil {
			p.in <- arrival{m, sip.UDP, func(b []byte) error { _, err := p.udp.WriteToUDPAddrPort(b, from); return err }, nil}
		}
	}
}

func (p *peer) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go p.readTCP(c)
	}
}

func (p *peer) readTCP(c net.Conn) {
	defer c.Close()
	for f := sip.NewFramer(1 << 16); ; {
		n, err := c.Read(f.Space())
		if err != nil {
			return
		}
		f.Filled(n)
		for b, frame, err := f.Next(); frame == sip.MessageFrame && err == nil; b, frame, err = f.Next() {
			if m, err := sip.Parse(b); err == nil {
				p.in <- arrival{m, sip.TCP, func(b []byte) error { _, err := c.Write(b); return err }, c.Close}
			}
		}
	}
}

// next returns the next message that begins so; others, such as retransmissions, are
// passed over.
func (p *peer) next(start string) arrival {
	p.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case a := <-p.in:
			if strings.HasPrefix(a.String(), start) {
				return a
			}
		case <-timeout:
			p.t.Fatalf("nothing came that begins with %q", start)
		}
	}
}

// reply answers a request.
func (p *peer) reply(a arrival, status int) {
	p.t.Helper()
	m := sip.NewResponse(a.Message, status, "", "tag")
	m.Append(sip.HContact, fmt.Sprintf("<sip:x@%s>", p.addr))
	if err := a.answer(m.Bytes()); err != nil {
		p.t.Error(err)
	}
}

// send sends a request over UDP to the server.
func (p *peer) send(to netip.AddrPort, text string) {
	p.t.Helper()
	if _, err := p.udp.WriteToUDPAddrPort([]byte(text), to); err != nil {
		p.t.Error(err)
	}
}

// request is a request as a peer sends it, with a body of that size.
func (p *peer) request(method, uri, id string, body int, more ...string) string {
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:trunk@elsewhere.test>;tag=1\r\nTo: <%[2]s>\r\nCall-ID: %[4]s\r\nCSeq: 1 %[1]s\r\n%[5]sContent-Length: %d\r\n\r\n%s",
		method, uri, p.addr, id, strings.Join(append(more, ""), "\r\n"), body, strings.Repeat("x", body))
}

// A domain has two servers, the first one of which is silent: a call reaches the second one
// soon, and the next call without trying the first.
func TestServersOfADomain(t *testing.T) {
	l := newSite(t)
	caller, silent, alive := newPeer(t, false), newPeer(t, false), newPeer(t, false)
	l.dns.Set(t,
		`pool.test. 60 NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.pool.test.`,
		fmt.Sprintf("_sip._udp.pool.test. 60 SRV 1 0 %d host.pool.test.", silent.addr.Port()),
		fmt.Sprintf("_sip._udp.pool.test. 60 SRV 2 0 %d host.pool.test.", alive.addr.Port()),
		"host.pool.test. 60 A 127.0.0.1")
	for call := range 2 {
		caller.send(l.udp, caller.request("INVITE", "sip:x@pool.test", fmt.Sprint("call", call), 0))
		caller.next("SIP/2.0 100")
		alive.reply(alive.next("INVITE sip:x@pool.test"), 486)
		caller.next("SIP/2.0 486")
	}
	for len(silent.in) > 0 {
		if a := <-silent.in; a.CallID() != "call0" {
			t.Errorf("the silent server was sent\n%s", a)
		}
	}
	if n := l.dns.Queries("_sip._udp.pool.test SRV"); n != 1 {
		t.Errorf("%d queries for two calls", n)
	}
}

// A phone registered over UDP is sent 9 KB: by TCP where it listens, else by UDP, and if it
// stands behind a NAT by UDP without asking. What it sends itself, in a datagram, arrives.
func TestLargeRequestsOverUDP(t *testing.T) {
	for _, tc := range []struct {
		name string
		tcp  bool
		nat  bool
		over sip.Transport
	}{
		{"listens for TCP", true, false, sip.TCP},
		{"does not", false, false, sip.UDP},
		{"behind a NAT", true, true, sip.UDP},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newSite(t)
			phone, other := newPeer(t, tc.tcp), newPeer(t, false)
			contact := fmt.Sprintf("sip:phone@%s", phone.addr)
			if tc.nat {
				contact = "sip:phone@192.0.2.7:5062"
			}
			register := phone.request("REGISTER", "sip:localhost", "reg", 0, "Contact: <"+contact+">")
			phone.send(l.udp, strings.ReplaceAll(register, "To: <sip:localhost>", "To: <sip:phone@localhost>"))
			phone.next("SIP/2.0 200")

			const size = 9000
			other.send(l.udp, other.request("INVITE", "sip:phone@localhost", "in", size))
			a := phone.next("INVITE " + contact)
			if a.over != tc.over || len(a.Body()) != size {
				t.Errorf("%d bytes came over %v", len(a.Body()), a.over)
			}
			phone.reply(a, 486)
			other.next("SIP/2.0 486")

			phone.send(l.udp, phone.request("INVITE", fmt.Sprintf("sip:x@%s", other.addr), "out", size))
			a = other.next("INVITE")
			if a.over != sip.UDP || len(a.Body()) != size {
				t.Errorf("%d bytes came over %v", len(a.Body()), a.over)
			}
			other.reply(a, 486)
			phone.next("SIP/2.0 486")
		})
	}
}

// A trusted peer closes its connection before the response, and takes none at its address:
// the response reaches the other node of its name (RFC 3263 §5).
func TestResponseElsewhere(t *testing.T) {
	l := newSite(t)
	callee, node := newPeer(t, false), newPeerAt(t, "127.0.0.2", true)
	l.dns.Set(t, "cluster.test. 60 A 127.0.0.2")
	c, err := net.Dial("tcp", l.transport.Listeners()[1].Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	text := callee.request("MESSAGE", fmt.Sprintf("sip:x@%s", callee.addr), "m", 0)
	sentBy := fmt.Sprintf("TCP cluster.test:%d", node.addr.Port())
	text = strings.Replace(text, fmt.Sprintf("UDP %s;rport", callee.addr), sentBy, 1)
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	a := callee.next("MESSAGE")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); l.transport.Stats()[sip.TCP].Flows > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still there")
		}
	}
	callee.reply(a, 200)
	if got := node.next("SIP/2.0 200"); got.over != sip.TCP {
		t.Errorf("over %v", got.over)
	}
}
