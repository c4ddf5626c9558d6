package registrar

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
)

// natFlow is the flow of a UDP phone.
func natFlow(i int) sip.Flow {
	f := udpFlow
	f.Local = netip.MustParseAddrPort("198.51.100.1:5060")
	f.Remote = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(10000+i))
	return f
}

// keeping is a server with a policy for clients behind NATs, on a store that may be shared.
func keeping(t *testing.T, policy Keepalive, st store.Store) *server {
	t.Helper()
	return newServer(t, options{
		reg: Config{
			Inline: true, AnyUser: true, Node: "n", Keepalive: policy, KeepaliveInterval: 20 * time.Second,
			SentBy: func(sip.Flow) (string, uint16) { return "sip.example.test", 5070 },
		},
		auth: auth.Config{Mode: auth.None}, store: st,
	})
}

// during runs f while the registrar does its housekeeping.
func (s *server) during(f func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	go func() { s.reg.Run(ctx); close(ended) }()
	synctest.Wait() // until it has loaded what there was before
	f()
	cancel()
	<-ended
	synctest.Wait()
}

const private = "Contact: <sip:a@10.0.0.7:5060>"

// Who is sent keepalives, and what.
func TestKeepalive(t *testing.T) {
	for _, test := range []struct {
		name    string
		policy  Keepalive
		act     func(s *server, f sip.Flow)
		minutes int // until the end of which one is sent three times a minute
		text    string
	}{
		{"line ends to a client behind a NAT", KeepCRLF, func(s *server, f sip.Flow) {
			s.send(f, regText(private, "Expires: 120"))
		}, 2, "\r\n\r\n"},
		{"a request, if that is the policy", KeepOptions, func(s *server, f sip.Flow) {
			s.send(f, regText(private, "Expires: 120"))
		}, 2, "OPTIONS sip:a@10.0.0.7:5060 SIP/2.0\r\nVia: SIP/2.0/UDP sip.example.test:5070;"},
		{"a contact by name", KeepCRLF, func(s *server, f sip.Flow) {
			s.send(f, regText("Contact: <sip:a@phone.local>", "Expires: 120"))
		}, 2, "\r\n\r\n"},
		{"nothing, if that is the policy", KeepNothing, func(s *server, f sip.Flow) {
			s.send(f, regText(private))
		}, 0, ""},
		{"nothing where there is no NAT", KeepCRLF, func(s *server, f sip.Flow) {
			s.send(f, regText("Contact: <sip:a@192.0.2.1:5062>"))
		}, 0, ""},
		{"nothing behind an edge proxy", KeepCRLF, func(s *server, f sip.Flow) {
			s.send(f, regText(private, "Path: <sip:edge.example.test;lr>", "Supported: path"))
		}, 0, ""},
		{"nothing over a connection", KeepCRLF, func(s *server, f sip.Flow) {
			f.Transport, f.ID = sip.TCP, 7
			s.send(f, regText(private))
		}, 0, ""},
		{"no more after it has unregistered", KeepCRLF, func(s *server, f sip.Flow) {
			s.send(f, regText(private, "Expires: 120"))
			time.AfterFunc(time.Minute, func() { s.deliver(f, regText(private, "Expires: 0")) })
		}, 1, "\r\n\r\n"},
		{"no more where it has moved away from", KeepCRLF, func(s *server, f sip.Flow) {
			s.send(f, regText(private, "Expires: 120"))
			time.AfterFunc(time.Minute, func() { s.deliver(natFlow(99), regText(private, "Expires: 120")) })
		}, 1, "\r\n\r\n"},
		{"on after a refresh", KeepCRLF, func(s *server, f sip.Flow) {
			s.send(f, regText(private, "Expires: 120"))
			time.AfterFunc(time.Minute, func() { s.deliver(f, regText(private, "Expires: 120")) })
		}, 3, "\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, f := keeping(t, test.policy, nil), natFlow(1)
				s.during(func() {
					test.act(s, f)
					s.net.take(f) // responses of now
					<-time.After(10 * time.Minute)
				})
				sent := s.net.take(f)
				sent = slices.DeleteFunc(sent, func(m string) bool { return strings.HasPrefix(m, "SIP/2.0") })
				// The grace of a binding is less than an interval, and may hold one more.
				if n := len(sent); n < 3*test.minutes || n > 3*test.minutes+min(test.minutes, 1) {
					t.Errorf("%d keepalives", n)
				}
				for _, m := range sent {
					if !strings.HasPrefix(m, test.text) {
						t.Errorf("sent %q", m)
					}
				}
				if n := len(s.reg.nat.clients); n != 0 {
					t.Errorf("%d clients are kept in mind", n)
				}
			})
		})
	}
}

// An OPTIONS must be one.
func TestKeepaliveOptions(t *testing.T) {
	s := keeping(t, KeepOptions, nil)
	m, err := sip.Parse(s.reg.options(&natClient{flow: natFlow(1), aor: alice, contact: "sip:a@10.0.0.7:5060;line=1"}))
	if err != nil {
		t.Fatal(err)
	}
	via := m.Via()
	if m.Method() != sip.OPTIONS || m.RequestURI() != "sip:a@10.0.0.7:5060;line=1" || !via.HasMagicCookie() || via.Host != "sip.example.test" || m.ToTag() != "" || m.From().URI != "sip:example.test" {
		t.Errorf("%s", m)
	}
}

// A thousand phones that came at once are not kept alive at once: of twenty seconds with
// eighty ticks, none has much more than its part. And those of the process before are not
// forgotten.
func TestKeepalivesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const phones = 1600
		st := memory.New()
		s := keeping(t, KeepCRLF, st)
		for i := range phones {
			s.send(natFlow(i), regText(of(i, private)...))
		}
		s = keeping(t, KeepCRLF, st) // another life
		s.during(func() {
			all, most := 0, 0
			<-time.After(time.Millisecond) // beside the ticks
			for range 20 * time.Second / keepaliveTick {
				<-time.After(keepaliveTick)
				n := 0
				for i := range phones {
					n += len(s.net.take(natFlow(i)))
				}
				all, most = all+n, max(most, n)
			}
			if all != phones || most > 3*phones/80 {
				t.Errorf("%d keepalives, at most %d at a time", all, most)
			}
		})
	})
}
