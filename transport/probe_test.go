package transport

import (
	"bytes"
	"crypto/tls"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

// A WebSocket peer is probed in virtual time: at which moments it is asked, and when it is
// closed.
func TestProbe(t *testing.T) {
	const asleep, awake = false, true
	for _, test := range []struct {
		name   string
		peer   bool                       // whether it answers pings
		act    func(l *Layer, f sip.Flow) // between 0 and 1 s before the first regular ping
		closed time.Duration              // after act; 0: never within 5 s
	}{
		{"silent and dead", asleep, (*Layer).ProbeSilent, time.Second},
		{"silent and alive", awake, (*Layer).ProbeSilent, 0},
		{"dead, asked twice: the first deadline counts", asleep, func(l *Layer, f sip.Flow) {
			l.Probe(f, time.Second)
			<-time.After(900 * time.Millisecond)
			l.ProbeSilent(f)
		}, time.Second},
		{"dead, asked again for sooner", asleep, func(l *Layer, f sip.Flow) {
			l.Probe(f, 4*time.Second)
			l.Probe(f, 2*time.Second)
		}, 2 * time.Second},
		{"dead and far away", asleep, func(l *Layer, f sip.Flow) {
			l.flows.get(f.ID).rtt.Store(int64(500 * time.Millisecond))
			l.ProbeSilent(f)
		}, 1500 * time.Millisecond},
		{"dead and very far away", asleep, func(l *Layer, f sip.Flow) {
			l.flows.get(f.ID).rtt.Store(int64(20 * time.Second))
			l.ProbeSilent(f)
		}, 2 * time.Second},
		{"alive, asked often", awake, func(l *Layer, f sip.Flow) {
			for range 20 {
				l.Probe(f, 100*time.Millisecond)
				<-time.After(150 * time.Millisecond)
			}
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, r := newLayer(t, Config{PingInterval: time.Minute, WriteTimeout: time.Hour})
				c := dialMemWS(t, listenMem(t, l, sip.WS))
				defer c.CloseNow()
				writeWS(t, c, websocket.MessageText, request(sip.WS, 1))
				f := (<-r.received).flow
				if test.peer == awake {
					c.CloseRead(t.Context()) // answers pings
				}
				<-time.After(20 * time.Second)
				began := time.Now()
				go test.act(l, f)
				select {
				case e := <-r.closed:
					if took := time.Since(began); took != test.closed || e.err != ErrPingTimeout {
						t.Errorf("closed after %v: %v", took, e.err)
					}
					if n := l.Stats()[sip.WS].Dead; n != 1 {
						t.Errorf("%d dead connections were counted", n)
					}
				case <-time.After(5 * time.Second):
					if test.closed != 0 || !l.Alive(f) {
						t.Errorf("not closed, alive %v", l.Alive(f))
					}
				}
			})
		})
	}
}

// Who was heard just now is not asked, and who was asked is watched as before afterwards.
func TestProbeKeepsTheRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLayer(t, Config{PingInterval: 20 * time.Second, PingTimeout: 5 * time.Second, WriteTimeout: time.Hour})
		c := dialMemWS(t, listenMem(t, l, sip.WS))
		defer c.CloseNow()
		f := sip.Flow{}
		for n := range 5 {
			writeWS(t, c, websocket.MessageText, request(sip.WS, n+1))
			f = expectSeq(t, r, n+1).flow
			l.ProbeSilent(f)
			<-time.After(3 * time.Second)
			if !l.Alive(f) {
				t.Fatal("a peer that was heard just now was probed")
			}
		}
		l.Probe(f, time.Second)
		writeWS(t, c, websocket.MessageText, request(sip.WS, 6)) // a sign of life
		expectSeq(t, r, 6)
		began := time.Now()
		if e := <-r.closed; e.err != ErrPingTimeout {
			t.Error(e.err)
		}
		// One interval, of which a fifth may be taken off and the time-out is, and the
		// regular ping's time-out.
		if took := time.Since(began); took < 17*time.Second || took > 21*time.Second {
			t.Errorf("closed by the regular ping after %v", took)
		}
	})
}

// Each pong says how long it took.
func TestInfo(t *testing.T) {
	l, r := newLayer(t, Config{})
	if _, ok := l.Info(1); ok {
		t.Error("there is no such flow")
	}
	before := time.Now()
	c := dialWS(t, listen(t, l, sip.WS))
	writeWS(t, c, websocket.MessageText, request(sip.WS, 1))
	f := expectSeq(t, r, 1).flow
	info, ok := l.Info(f.ID)
	if !ok || info.Opened.Before(before) || info.LastHeard.Before(before) || info.LastHeard.After(time.Now()) {
		t.Errorf("%+v, %v", info, ok)
	}
	if hasDescriptors && (info.RTT <= 0 || info.RTT > time.Second) {
		t.Errorf("the kernel's round trip is %v", info.RTT)
	}
	connection := l.flows.get(f.ID)
	c.CloseRead(t.Context())
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(patience); connection.rtt.Load() == 0; {
		l.Probe(f, patience) // which asks only who is known to have sent a valid message
		select {
		case <-again.C:
		case <-deadline:
			t.Fatal("no pong was timed")
		}
	}
	after, _ := l.Info(f.ID)
	if after.RTT != time.Duration(connection.rtt.Load()) || after.RTT > patience || !after.LastHeard.After(info.LastHeard) {
		t.Errorf("%+v", after)
	}
}

// Over TCP the peer's kernel answers for it, and a peer that takes nothing is dead.
func TestProbeTCP(t *testing.T) {
	l, r := newLayer(t, Config{OutQueue: 64 << 20, ProbeAfter: time.Nanosecond, ProbeTimeout: 50 * time.Millisecond})
	at := listen(t, l, sip.TCP)
	alive, dead := dialStream(t, at), dialStream(t, at)
	write(t, alive, request(sip.TCP, 1))
	living := expectSeq(t, r, 1).flow
	write(t, dead, request(sip.TCP, 2))
	gone := expectSeq(t, r, 2).flow

	l.Probe(living, 50*time.Millisecond)
	if b := make([]byte, 2); true {
		if _, err := io.ReadFull(alive, b); err != nil || string(b) != "\r\n" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	for l.flows.get(gone.ID).sock.flushed() { // until its window is full
		if err := l.Send(gone, bytes.Repeat([]byte{'m'}, 100000)); err != nil {
			t.Fatal(err)
		}
	}
	l.ProbeSilent(gone)
	l.ProbeSilent(living)
	if e := next(t, r.closed); e.flow != gone || e.err != ErrPingTimeout {
		t.Errorf("closed %+v", e)
	}
	c := l.flows.get(living.ID)
	for deadline := time.Now().Add(patience); ; {
		c.mu.Lock()
		settled := c.phase == quiet
		c.mu.Unlock()
		if settled || time.Now().After(deadline) {
			break
		}
	}
	if !l.Alive(living) {
		t.Error("a peer whose kernel answered was closed")
	}
}

// What has not yet registered, or has no connection, is nobody's flow to probe.
func TestProbeNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLayer(t, Config{FirstMessageTimeout: 30 * time.Second})
		c := dialMemWS(t, listenMem(t, l, sip.WS))
		defer c.CloseNow()
		synctest.Wait()
		all := l.flows.all()
		l.Probe(all[0].flow, time.Second)
		l.Probe(sip.Flow{Transport: sip.UDP}, time.Second)
		l.ProbeSilent(sip.Flow{Transport: sip.WS, ID: 7})
		if e := <-r.closed; e.err != ErrNoMessage {
			t.Error(e.err)
		}
	})
}

// Below TLS it is the same: a pong, or the kernel's word.
func TestProbeTLS(t *testing.T) {
	ca := newAuthority(t)
	l, r := newLayer(t, Config{TLS: ca.serverConfig(t)})
	phone, err := tls.Dial("tcp", listen(t, l, sip.TLS).String(), ca.clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	write(t, phone, request(sip.TLS, 1))
	first := expectSeq(t, r, 1).flow
	page := dialWSS(t, listen(t, l, sip.WSS), ca.clientConfig())
	writeWS(t, page, websocket.MessageText, request(sip.WSS, 2))
	second := expectSeq(t, r, 2).flow
	page.CloseRead(t.Context())

	l.Probe(first, patience)
	l.Probe(second, patience)
	b := make([]byte, 2)
	if _, err := io.ReadFull(phone, b); err != nil || string(b) != "\r\n" {
		t.Fatalf("%q, %v", b, err)
	}
	for _, f := range []sip.Flow{first, second} {
		c := l.flows.get(f.ID)
		for deadline := time.Now().Add(patience); !c.answered() || f == second && c.rtt.Load() == 0; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%v did not answer", f)
			}
		}
	}
}
