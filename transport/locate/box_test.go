package locate

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/transport/resolver"
)

var (
	first  = sip.Server{Transport: sip.UDP, Addr: netip.MustParseAddrPort("192.0.2.7:5060"), Name: "a.test"}
	second = sip.Server{Transport: sip.UDP, Addr: netip.MustParseAddrPort("192.0.2.8:5060"), Name: "a.test"}
)

// A server that failed is passed over for longer and longer, and when the time is over by
// all but one, until it answers.
func TestBox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox()
		expect := func(what string, want ...verdict) {
			t.Helper()
			for _, w := range want {
				if got := b.look(first); got != w {
					t.Errorf("%s: %d, want %d", what, got, w)
				}
			}
		}
		expect("unknown", usable, usable)
		b.failed(first, 0)
		b.failed(first, 0) // by another request at the same time: counts once
		expect("failed", doubtful)
		<-time.After(pause)
		expect("its time is over", usable, doubtful, doubtful)
		b.failed(first, 0)
		<-time.After(2*pause - 1)
		expect("failed again", doubtful)
		<-time.After(1)
		expect("twice the time", usable, doubtful)
		<-time.After(trialTime)
		expect("who was to try never said", usable, doubtful)
		for range 6 {
			b.failed(first, 0)
			<-time.After(longestPause)
			expect("failed for good", usable, doubtful)
		}
		b.answered(second)
		expect("another one answered", doubtful)
		b.answered(first)
		expect("answered", usable, usable)

		b.failed(first, time.Hour)
		<-time.After(time.Hour - 1)
		expect("for a time of its own", doubtful)
		b.answered(first)

		b.decline(first, time.Minute)
		b.answered(first) // an answer that was on its way
		b.failed(first, 0)
		expect("declined", declined, declined)
		<-time.After(time.Minute)
		expect("and no more", usable, usable)
	})
}

// Over TLS a server fails for a name: another domain's certificate may be good.
func TestFailedForAName(t *testing.T) {
	for _, tr := range []sip.Transport{sip.TCP, sip.TLS} {
		b := newBox()
		s := sip.Server{Transport: tr, Addr: first.Addr, Name: "a.test"}
		b.failed(s, 0)
		s.Name = "b.test"
		if got := b.look(s); (got == usable) != (tr == sip.TLS) {
			t.Errorf("%v: %d", tr, got)
		}
	}
}

func TestBoxIsBounded(t *testing.T) {
	b := newBox()
	for i := range 2 * boxSize {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		b.failed(sip.Server{Transport: sip.UDP, Addr: netip.AddrPortFrom(addr, 5060)}, 0)
	}
	if n := b.servers.Len(); n != boxSize {
		t.Errorf("%d servers", n)
	}
}

// All requests share what is known: servers that failed come last, those that declined not
// at all.
func TestFailedServersComeLast(t *testing.T) {
	l, _ := newTest(t, "udp tcp")
	expect := func(want string, end error) {
		t.Helper()
		if got, err := servers(t, l.Locate(uri(t, "sip:x@a.test"))); got != want || !errors.Is(err, end) {
			t.Errorf("%s, %v; want %s, %v", got, err, want, end)
		}
	}
	const one, two = "udp 192.0.2.7:5060", "udp 192.0.2.8:5060"
	expect(one+", "+two, io.EOF)
	l.Failed(first, 0)
	expect(two+", "+one, io.EOF)
	if l.Usable(first) || !l.Usable(second) {
		t.Error("usable")
	}
	l.Failed(second, 0)
	expect(one+", "+two, io.EOF) // better than nothing
	l.Answered(first)
	l.Answered(second)
	l.Declined(first, time.Minute)
	expect(two, io.EOF)
	l.Declined(second, time.Minute)
	expect("", ErrDeclined)
}

// The draw of RFC 2782, with the random numbers named.
func TestArrange(t *testing.T) {
	record := func(priority, weight uint16, target string) resolver.SRV {
		return resolver.SRV{Priority: priority, Weight: weight, Target: target}
	}
	records := []resolver.SRV{
		record(20, 5, "last"), record(10, 3, "heavy"), record(10, 0, "zero"), record(10, 1, "light"),
	}
	for _, tc := range []struct {
		draws []int
		want  []string
	}{
		{[]int{0, 0, 0, 0}, []string{"zero", "heavy", "light", "last"}},
		{[]int{1, 0, 0, 0}, []string{"heavy", "zero", "light", "last"}},
		{[]int{3, 0, 0, 0}, []string{"heavy", "zero", "light", "last"}},
		{[]int{4, 3, 0, 0}, []string{"light", "heavy", "zero", "last"}},
		{[]int{4, 0, 3, 5}, []string{"light", "zero", "heavy", "last"}},
	} {
		draws := tc.draws
		got := arrange(slices.Clone(records), func(n int) int {
			d := draws[0]
			if draws = draws[1:]; d >= n {
				t.Errorf("%v: %d asked for below %d", tc.draws, d, n)
			}
			return d
		})
		var names []string
		for _, r := range got {
			names = append(names, r.Target)
		}
		if !slices.Equal(names, tc.want) {
			t.Errorf("%v: %v, want %v", tc.draws, names, tc.want)
		}
	}

	counts := map[string]int{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		counts[arrange(slices.Clone(records), random.IntN)[0].Target]++
	}
	// The draw has one number more than the weights' sum, which is the zero's.
	for name, want := range map[string]int{"heavy": 6000, "light": 2000, "zero": 2000} {
		if n := counts[name]; n < want-300 || n > want+300 {
			t.Errorf("%s is first %d times of 10000, want about %d", name, n, want)
		}
	}
}
