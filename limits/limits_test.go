package limits

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

func udpFrom(remote string) sip.Flow {
	return sip.Flow{Transport: sip.UDP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort(remote)}
}

func quiet(cfg Config) *Limiter {
	cfg.Logger = slog.New(slog.DiscardHandler)
	return New(cfg)
}

var request = []byte("OPTIONS sip:example.test SIP/2.0\r\n")

// admitted counts how many of n requests are heard.
func admitted(l *Limiter, f sip.Flow, n int) (heard int) {
	for range n {
		if l.Admit(f, request) {
			heard++
		}
	}
	return heard
}

func TestSourceHasItsBurstAndItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quiet(Config{Requests: 10, Burst: 50})
		f := udpFrom("198.51.100.1:5060")
		if n := admitted(l, f, 200); n != 50 {
			t.Errorf("%d requests at once were heard, want 50", n)
		}
		<-time.After(3 * time.Second)
		if n := admitted(l, f, 200); n != 30 {
			t.Errorf("%d requests were heard after 3 s, want 30", n)
		}
		<-time.After(time.Hour)
		if n := admitted(l, f, 200); n != 50 {
			t.Errorf("%d requests were heard after an hour, want 50", n)
		}
		if got := l.Stats().Dropped; got != 150+170+150 {
			t.Errorf("dropped %d", got)
		}
	})
}

func TestSetBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quiet(Config{Requests: 10, Burst: 50, Failures: 4, UserFailures: 100, FirstBan: time.Minute})
		a, b := udpFrom("198.51.100.1:5060"), udpFrom("198.51.100.2:5060")
		admitted(l, a, 50)
		l.SetBounds(Config{Requests: 100, Burst: 1000, UserRequests: 1, UserBurst: 1, Failures: 2, UserFailures: 100, FirstBan: time.Hour})
		// He has used up five seconds of his ten.
		if n := admitted(l, a, 2000); n != 500 {
			t.Errorf("%d requests were heard, want 500", n)
		}
		if n := admitted(l, b, 2000); n != 1000 {
			t.Errorf("%d requests of another were heard, want 1000", n)
		}
		if !l.Succeeded(b, "bob@example.test") || l.Succeeded(b, "bob@example.test") {
			t.Error("a user has not his new limit")
		}
		for range 2 {
			l.Failed(a, "alice@example.test")
		}
		if bans := l.Bans(); len(bans) != 1 || bans[0].Until.Sub(bans[0].Since).Round(time.Second) != time.Hour {
			t.Errorf("bans %v, want one for an hour", bans)
		}
		var none *Limiter
		none.SetBounds(Config{Requests: 1})
		if !none.Admit(a, request) {
			t.Error("nil limits")
		}
	})
}

func TestSources(t *testing.T) {
	tests := []struct {
		name, flooder, other string
		shared               bool
	}{
		{"ports of one address", "198.51.100.1:1", "198.51.100.1:2", true},
		{"neighbours in IPv4", "198.51.100.1:1", "198.51.100.2:1", false},
		{"one /64", "[2001:db8::1]:1", "[2001:db8::ffff:1]:1", true},
		{"neighbouring /64", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := quiet(Config{Requests: 1, Burst: 5})
			admitted(l, udpFrom(tt.flooder), 10)
			if heard := l.Admit(udpFrom(tt.other), request); heard == tt.shared {
				t.Errorf("heard: %v", heard)
			}
		})
	}
}

func TestWhatNobodyAnswersCountsForNothing(t *testing.T) {
	l := quiet(Config{Requests: 1, Burst: 2})
	f := udpFrom("198.51.100.1:5060")
	for _, text := range []string{"SIP/2.0 200 OK\r\n", "ACK sip:a@example.test SIP/2.0\r\n"} {
		for range 10 {
			if !l.Admit(f, []byte(text)) {
				t.Fatalf("%q was not heard", text)
			}
		}
	}
	l.Ban(f.Remote.Addr(), time.Minute)
	if l.Admit(f, []byte("SIP/2.0 200 OK\r\n")) {
		t.Error("a banned source's response was heard")
	}
}

func TestUsersAreHeardWhereTheirSourceIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quiet(Config{Requests: 1, Burst: 5, UserRequests: 1, UserBurst: 10})
		user, other := udpFrom("198.51.100.1:5060"), udpFrom("198.51.100.1:5062")
		if !l.Succeeded(user, "alice@example.test") {
			t.Fatal("the first request is above the limit")
		}
		admitted(l, other, 20)
		if l.Admit(other, request) {
			t.Error("the flooder is heard")
		}
		if n := admitted(l, user, 20); n != 9 { // and the one that was authenticated
			t.Errorf("%d of the user's requests were heard, want 9", n)
		}
		if l.Succeeded(udpFrom("198.51.100.7:5060"), "alice@example.test") {
			t.Error("the user has another limit from elsewhere")
		}
		<-time.After(time.Minute)
		l.Ban(user.Remote.Addr(), time.Hour)
		if !l.Admit(user, request) || l.Admit(other, request) {
			t.Error("of a banned source, not just the user is heard")
		}
	})
}

// An office's phones that authenticate don't use up what strangers have.
func TestAuthenticatedRequestsAreGivenBack(t *testing.T) {
	l := quiet(Config{Requests: 1, Burst: 10})
	for i := range 100 {
		f := udpFrom(fmt.Sprintf("198.51.100.1:%d", 1000+i))
		if !l.Admit(f, request) || !l.Succeeded(f, fmt.Sprintf("%d@example.test", i)) {
			t.Fatalf("phone %d is not heard", i)
		}
	}
}

func TestBansGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quiet(Config{Failures: 10, FirstBan: time.Second, MaxBan: 10 * time.Second})
		f := udpFrom("198.51.100.1:5060")
		fail := func() (n int) {
			for l.Admit(f, request) {
				l.Failed(f, fmt.Sprintf("user%d@example.test", n))
				n++
			}
			return n
		}
		if n := fail(); n != 10 {
			t.Fatalf("banned after %d failures, want 10", n)
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
			bans := l.Bans()
			if len(bans) != 1 || bans[0].Reason != Guesser || bans[0].Until.Sub(bans[0].Since).Round(time.Millisecond) != want*time.Second {
				t.Fatalf("bans %+v, want one of %d s", bans, want)
			}
			<-time.After(want*time.Second - 10*time.Millisecond)
			if l.Admit(f, request) {
				t.Fatalf("heard before %d s were over", want)
			}
			<-time.After(20 * time.Millisecond)
			if n := fail(); n < 1 || n > 4 {
				t.Fatalf("banned again after %d failures, want at most 4", n)
			}
		}
		<-time.After(25 * time.Hour)
		if l.Bans(); fail() != 10 {
			t.Error("a day did not forgive")
		}
	})
}

func TestOffences(t *testing.T) {
	names := 0
	tests := []struct {
		reason Reason
		offend func(*Limiter, sip.Flow)
		most   int
	}{
		{Guesser, func(l *Limiter, f sip.Flow) {
			names++
			l.Failed(f, fmt.Sprintf("%d@example.test", names))
		}, 100},
		{Guesser, func(l *Limiter, f sip.Flow) { l.Failed(f, "alice@example.test") }, 910},
		{Sweep, (*Limiter).Unknown, 100},
		{Garbage, (*Limiter).Malformed, 200},
		{Unanswered, (*Limiter).Challenged, 1000},
		{Scanner, func(l *Limiter, f sip.Flow) { l.Received(f, withAgent(t, "friendly-scanner")) }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, f := quiet(Config{}), udpFrom("198.51.100.1:5060")
				n := 0
				for ; len(l.Bans()) == 0 && n < 2000; n++ {
					tt.offend(l, f)
				}
				if n != tt.most || l.Bans()[0].Reason != tt.reason || l.Stats().Banned[tt.reason] != 1 {
					t.Errorf("%d offences: %+v, want %d", n, l.Bans(), tt.most)
				}
				exempt := quiet(Config{Exempt: func(netip.Addr) bool { return true }})
				for range 3000 {
					tt.offend(exempt, f)
				}
				if len(exempt.Bans()) > 0 {
					t.Error("an exempt source was banned")
				}
			})
		})
	}
}

func withAgent(t *testing.T, agent string) *sip.Message {
	t.Helper()
	m, err := sip.Parse([]byte("OPTIONS sip:a@example.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n" +
		"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nUser-Agent: " + agent + "\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestScannersAreKnownByName(t *testing.T) {
	tests := map[string]bool{
		"friendly-scanner": true, "Friendly-Scanner/1.2": true, "sipvicious": true, "VaxSIPUserAgent/3.1": true,
		"JsSIP 3.13.8": false, "Yealink SIP-T46S": false, "sip": false, "": false, "not a friendly-scanner": false,
	}
	for agent, scanner := range tests {
		l := quiet(Config{})
		if heard := l.Received(udpFrom("198.51.100.1:5060"), withAgent(t, agent)); heard == scanner {
			t.Errorf("%q: heard %v", agent, heard)
		}
	}
}

// Whoever guesses a user's password is stopped; the user, elsewhere, is not.
func TestGuessingLocksOutNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quiet(Config{UserFailures: 3, FirstBan: time.Second})
		thief, user := udpFrom("198.51.100.1:5060"), udpFrom("203.0.113.1:5060")
		for i := range 3 {
			if l.Guessing(thief, "alice@example.test") {
				t.Fatalf("stopped after %d guesses", i)
			}
			l.Failed(thief, "alice@example.test")
		}
		if !l.Guessing(thief, "alice@example.test") {
			t.Error("goes on guessing")
		}
		if l.Guessing(user, "alice@example.test") || l.Guessing(thief, "bob@example.test") {
			t.Error("somebody else is taken for guessing")
		}
		<-time.After(time.Second)
		if l.Guessing(thief, "alice@example.test") {
			t.Error("stopped for longer than the ban")
		}
	})
}

// A peer who is trusted for his certificate has no address to be exempt by.
func TestTrustedPeersHaveNoLimits(t *testing.T) {
	trunk := udpFrom("198.51.100.1:5061")
	l := quiet(Config{Requests: 1, Burst: 1, Failures: 1, Trusted: func(f sip.Flow) bool { return f == trunk }})
	l.Failed(trunk, "alice@example.test")
	if n := admitted(l, trunk, 100); n != 100 || len(l.Bans()) > 0 {
		t.Errorf("%d of 100 were heard, bans %v", n, l.Bans())
	}
}

func TestUnban(t *testing.T) {
	l := quiet(Config{})
	f := udpFrom("[2001:db8::1]:5060")
	l.Ban(f.Remote.Addr(), time.Hour)
	if l.Admit(f, request) || l.AdmitFrom(f.Remote.Addr()) {
		t.Error("a banned source is heard")
	}
	for _, text := range []string{"::1", "192.0.2.1"} {
		a := netip.MustParseAddr(text)
		if b := l.Ban(a, time.Hour); !b.Source.Contains(a) || l.AdmitFrom(a) || !l.Unban(a) {
			t.Errorf("%s: %+v", text, b)
		}
	}
	if !l.Unban(netip.MustParseAddr("2001:db8::2")) || l.Unban(f.Remote.Addr()) {
		t.Error("the ban did not end once")
	}
	if !l.Admit(f, request) || !l.AdmitFrom(f.Remote.Addr()) || len(l.Bans()) > 0 {
		t.Error("the ban goes on")
	}
}

// A flood from made-up sources makes the table forget sources, but not bans.
func TestBansOutliveAFloodOfSources(t *testing.T) {
	l := quiet(Config{})
	banned := netip.MustParseAddr("198.51.100.1")
	l.Ban(banned, time.Hour)
	for i := range uint32(4 * sourceRoom) {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		l.Admit(sip.Flow{Transport: sip.UDP, Remote: netip.AddrPortFrom(a, 5060)}, request)
	}
	if l.AdmitFrom(banned) {
		t.Error("the ban was washed out")
	}
}

func TestBansAreLoggedAtABoundedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := New(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for i := range 100 {
			l.Ban(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), time.Minute)
		}
		<-time.After(time.Second)
		l.Ban(netip.AddrFrom4([4]byte{10, 0, 1, 0}), time.Minute)
		if n := strings.Count(log.String(), "\n"); n != saysPerSecond+1 || !strings.Contains(log.String(), "unsaid=95") {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	})
}

func TestNilLimiterLimitsNothing(t *testing.T) {
	var l *Limiter
	f := udpFrom("198.51.100.1:5060")
	l.Failed(f, "a")
	l.Malformed(f)
	if !l.Admit(f, request) || !l.AdmitFrom(f.Remote.Addr()) || !l.Succeeded(f, "a") || l.Guessing(f, "a") ||
		!l.Received(f, withAgent(t, "friendly-scanner")) || l.Bans() != nil || l.Stats() != (Stats{}) {
		t.Error("it limits")
	}
}

func BenchmarkAdmit(b *testing.B) {
	l := New(Config{Requests: 1 << 20, Burst: 1 << 20})
	b.RunParallel(func(pb *testing.PB) {
		f := udpFrom("198.51.100.1:5060")
		for pb.Next() {
			l.Admit(f, request)
		}
	})
}

func BenchmarkReceived(b *testing.B) {
	l := New(Config{})
	m, err := sip.Parse([]byte("OPTIONS sip:a@example.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n" +
		"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nUser-Agent: Yealink SIP-T46S 66.84.0.15\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		b.Fatal(err)
	}
	f := udpFrom("198.51.100.1:5060")
	for b.Loop() {
		l.Received(f, m)
	}
}
