package dialog

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/sipway/sipway/sip"
)

// Every state, every event.
func TestState(t *testing.T) {
	table := map[State][events]State{
		//          1xx        2xx        failure bye     challenged answered 481    given
		Trying:    {Early, Confirmed, Ended, Trying, Trying, Trying, Trying, Ended},
		Early:     {Early, Confirmed, Ended, Ending, Early, Early, Early, Ended},
		Confirmed: {Confirmed, Confirmed, Confirmed, Ending, Confirmed, Confirmed, Ended, Ended},
		Ending:    {Ending, Ending, Ending, Ending, Confirmed, Ended, Ended, Ended},
		Ended:     {Ended, Ended, Ended, Ended, Ended, Ended, Ended, Ended},
	}
	if len(table) != len(stateNames) {
		t.Fatalf("%d states are tested, there are %d", len(table), len(stateNames))
	}
	for s, row := range table {
		for e, want := range row {
			if got := s.on(event(e)); got != want {
				t.Errorf("%v, event %d: %v, want %v", s, e, got, want)
			}
		}
	}
}

var (
	aliceFlow = sip.Flow{Transport: sip.WS, Remote: netip.MustParseAddrPort("192.0.2.1:4001"), ID: 1}
	bobFlow   = sip.Flow{Transport: sip.WS, Remote: netip.MustParseAddrPort("192.0.2.2:4002"), ID: 2}
)

func message(t testing.TB, first, callID, from, to, more, body string) *sip.Message {
	t.Helper()
	method := "INVITE"
	if !strings.HasPrefix(first, "SIP/2.0 ") {
		method, _, _ = strings.Cut(first, " ")
	}
	kind := ""
	if body != "" {
		kind = "Content-Type: application/sdp\r\n"
	}
	m, err := sip.Parse([]byte(first + "\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.test>;tag=" + from +
		"\r\nTo: <sip:bob@example.test>" + to + "\r\nCall-ID: " + callID + "\r\nCSeq: 1 " + method + "\r\n" + more + kind +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const (
	inviteLine = "INVITE sip:bob@example.test SIP/2.0"
	okLine     = "SIP/2.0 200 OK"
	ringLine   = "SIP/2.0 180 Ringing"
	byeLine    = "BYE sip:bob@x.invalid SIP/2.0"
)

func begin(t testing.TB, calls *Calls, callID string) Request {
	t.Helper()
	m := message(t, inviteLine, callID, "a", "", "User-Agent: phone\r\n", "offer")
	return calls.Begin(m, Party{Identity: "alice@example.test", Flow: aliceFlow}, "bob@example.test")
}

// answered makes a call that goes on.
func answered(t testing.TB, calls *Calls, callID string) Request {
	t.Helper()
	r := begin(t, calls, callID)
	leg := r.Sent("sip:b@x.invalid", Party{Flow: bobFlow, UserAgent: "registered"})
	r.Response(leg, message(t, okLine, callID, "a", ";tag=b", "Server: desk\r\n", "answer"))
	calls.Within(message(t, "ACK sip:bob@x.invalid SIP/2.0", callID, "a", ";tag=b", "", ""), aliceFlow)
	return r
}

func hangUp(t testing.TB, calls *Calls, callID string) {
	t.Helper()
	calls.Within(message(t, byeLine, callID, "a", ";tag=b", "", ""), aliceFlow).
		Response(-1, message(t, okLine, callID, "a", ";tag=b", "", ""))
}

func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []Record
		calls := New(Config{
			Describe: func(sdp []byte) Media { return Media{Codec: "codec of the " + string(sdp)} },
			Ended:    func(c *Call) { ended = append(ended, c.Record()) },
		})
		r := begin(t, calls, "1")
		leg := r.Sent("sip:b@x.invalid", Party{Flow: bobFlow, UserAgent: "registered"})
		<-time.After(time.Second)
		r.Response(leg, message(t, ringLine, "1", "a", ";tag=b", "", ""))
		<-time.After(2 * time.Second)
		r.Response(leg, message(t, okLine, "1", "a", ";tag=b", "Server: desk\r\n", "answer"))
		<-time.After(time.Minute)
		list, more := calls.List("", 10, nil)
		if len(list) != 1 || more || list[0].State != Confirmed || list[0].Codec != "codec of the answer" {
			t.Errorf("%+v", list)
		}
		bye := calls.Within(message(t, byeLine, "1", "b", ";tag=a", "Reason: Q.850;cause=16\r\n", ""), bobFlow)
		bye.Response(-1, message(t, okLine, "1", "b", ";tag=a", "", ""))
		if len(ended) != 1 {
			t.Fatalf("%d calls have ended", len(ended))
		}
		e := ended[0]
		if e.Cause != HungUp || e.By != ByCallee || e.Reason != "Q.850;cause=16" || e.Ringing() != time.Second ||
			e.SetUp() != 3*time.Second || e.Duration(time.Now()) != time.Minute ||
			e.Caller.Identity != "alice@example.test" || e.Caller.UserAgent != "phone" || e.Callee.UserAgent != "desk" || e.Callee.Flow != bobFlow {
			t.Errorf("%+v", e)
		}
		if len(e.Legs) != 1 || e.Legs[0].Status != 200 || e.Legs[0].Party.UserAgent != "registered" {
			t.Errorf("legs: %+v", e.Legs)
		}
		if len(e.Dialogs) != 1 || e.Dialogs[0].CalleeTag != "b" || e.Dialogs[0].State != Ended {
			t.Errorf("dialogs: %+v", e.Dialogs)
		}
		var steps []string
		for _, s := range e.Steps {
			steps = append(steps, fmt.Sprintf("%d %s %d", s.From, s.Method, s.Status))
		}
		if want := []string{"0 INVITE 0", "1 INVITE 180", "1 INVITE 200", "1 BYE 0", "0 BYE 200"}; !slices.Equal(steps, want) {
			t.Errorf("steps %q", steps)
		}
		if s := calls.Stats(); s.Ended[HungUp] != 1 || s.Live != [5]int{} {
			t.Errorf("%+v", s)
		}
	})
}

// A phone that rang says no, while another one has not rung yet, and then takes the call.
func TestEarlyDialogEnds(t *testing.T) {
	calls := New(Config{})
	r := begin(t, calls, "1")
	first, second := r.Sent("sip:b@x.invalid", Party{Flow: bobFlow}), r.Sent("sip:c@x.invalid", Party{Flow: bobFlow})
	state := func() (s State) {
		for s, n := range calls.Stats().Live {
			if n == 1 {
				return State(s)
			}
		}
		return Ended
	}
	for _, step := range []struct {
		do   func()
		want State
	}{
		{func() {}, Trying},
		{func() { r.Response(first, message(t, ringLine, "1", "a", ";tag=b", "", "")) }, Early},
		{func() { r.Leg(first, 486, false) }, Trying},
		{func() { r.Response(second, message(t, okLine, "1", "a", ";tag=c", "", "")) }, Confirmed},
		{func() { r.Cancel("late") }, Confirmed},
	} {
		if step.do(); state() != step.want {
			t.Errorf("%v, want %v", state(), step.want)
		}
	}
	for _, d := range calls.Find("1")[0].Dialogs {
		if want := map[string]State{"b": Ended, "c": Confirmed}[d.CalleeTag]; d.State != want {
			t.Errorf("dialog %s is %v, want %v", d.CalleeTag, d.State, want)
		}
	}
}

// What a look at all calls costs, which happens every five seconds.
func BenchmarkSweep(b *testing.B) {
	calls := New(Config{Reachable: func(p *Party) (sip.Flow, bool) { return p.Flow, true }})
	const n = 10_000
	for i := range n {
		answered(b, calls, fmt.Sprint("call-", i))
	}
	for b.Loop() {
		calls.sweep()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/call")
}

// The same INVITE on another way is no further call, another call with its Call-ID is.
func TestSpiral(t *testing.T) {
	calls := New(Config{})
	begin(t, calls, "1")
	if begin(t, calls, "1").Known() {
		t.Error("the INVITE was taken for another call")
	}
	other := message(t, inviteLine, "1", "z", "", "", "")
	if !calls.Begin(other, Party{}, "").Known() {
		t.Error("another caller's INVITE with the same Call-ID was taken for the same call")
	}
	if found := calls.Find("1"); len(found) != 2 {
		t.Errorf("%d calls are found by the Call-ID", len(found))
	} else if byID := calls.Find(found[1].ID); len(byID) != 1 || byID[0].CallerTag != found[1].CallerTag {
		t.Errorf("%+v is found by the ID", byID)
	}
	answered(t, calls, "2")
	hangUp(t, calls, "2")
	if n := calls.Stats().Live[Trying]; n != 2 {
		t.Errorf("%d calls are left", n)
	}
}

// A side is where its last request came from.
func TestMoves(t *testing.T) {
	calls := New(Config{})
	answered(t, calls, "1")
	again := bobFlow
	again.ID = 7
	calls.Within(message(t, "UPDATE sip:x SIP/2.0", "1", "b", ";tag=a", "", ""), again).
		Sent("sip:a@x.invalid", Party{Flow: aliceFlow})
	if r := calls.Find("1")[0]; r.Callee.Flow != again || r.Caller.Flow != aliceFlow || len(r.Legs) != 1 {
		t.Errorf("%+v", r)
	}
	again.ID = 8
	calls.Within(message(t, "UPDATE sip:x SIP/2.0", "1", "a", ";tag=b", "", ""), aliceFlow).
		Sent("sip:b@x.invalid", Party{Flow: again})
	if r := calls.Find("1")[0]; r.Callee.Flow != again {
		t.Errorf("%+v", r.Callee)
	}
}

// What belongs to no call changes nothing.
func TestStrangers(t *testing.T) {
	calls := New(Config{})
	answered(t, calls, "1")
	for name, m := range map[string]*sip.Message{
		"another call":   message(t, byeLine, "2", "a", ";tag=b", "", ""),
		"another caller": message(t, byeLine, "1", "x", ";tag=b", "", ""),
		"another callee": message(t, byeLine, "1", "a", ";tag=x", "", ""),
	} {
		if calls.Within(m, aliceFlow).Known() {
			t.Errorf("%s: taken for this one", name)
		}
	}
	if live := calls.Stats().Live; live[Confirmed] != 1 {
		t.Errorf("live %v", live)
	}
	var nobody Request
	nobody.Response(nobody.Sent("", Party{}), message(t, okLine, "1", "a", ";tag=b", "", ""))
	nobody.Leg(0, 200, false)
	nobody.Moved(0, bobFlow)
	nobody.Cancel("")
	nobody.Leave()
	nobody.Failed(500, "")
	if (*Calls)(nil).Within(message(t, byeLine, "1", "a", ";tag=b", "", ""), aliceFlow).Known() {
		t.Error("no table knows a call")
	}
}

// One caller, one phone or one call too many can't make a record large.
func TestBounds(t *testing.T) {
	calls := New(Config{Max: 2})
	r := begin(t, calls, "1")
	long := strings.Repeat("x", 3*maxText)
	for i := range 3 * maxLegs {
		leg := r.Sent("sip:"+long, Party{UserAgent: long})
		r.Response(leg, message(t, ringLine, "1", "a", fmt.Sprint(";tag=", i), "", ""))
	}
	rec := calls.Find("1")[0]
	if len(rec.Legs) != maxLegs || len(rec.Dialogs) != maxDialogs || len(rec.Steps) != traceSteps || rec.Messages != 1+3*maxLegs ||
		len(rec.Legs[0].URI) != maxText || len(rec.Legs[0].Party.UserAgent) != maxText {
		t.Errorf("%d legs, %d dialogs, %d of %d steps", len(rec.Legs), len(rec.Dialogs), len(rec.Steps), rec.Messages)
	}
	begin(t, calls, "2")
	if begin(t, calls, "3").Known() {
		t.Error("a third call is recorded")
	}
	if s := calls.Stats(); s.Missed != 1 || s.Live[Trying]+s.Live[Early] != 2 {
		t.Errorf("%+v", s)
	}
	r.Failed(486, "Busy Here")
	if !begin(t, calls, "3").Known() {
		t.Error("there is no room after a call has ended")
	}
}

func TestPages(t *testing.T) {
	calls := New(Config{})
	for i := range 5 {
		begin(t, calls, fmt.Sprint("c", i))
	}
	var got []string
	for after, more := "", true; more; {
		var list []Record
		list, more = calls.List(after, 2, func(r *Record) bool { return r.CallID != "c1" })
		for _, r := range list {
			got, after = append(got, r.CallID), r.ID
		}
	}
	if want := []string{"c0", "c2", "c3", "c4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// At the end of the server every call has its record.
func TestStop(t *testing.T) {
	var causes []Cause
	calls := New(Config{Ended: func(c *Call) { causes = append(causes, c.Record().Cause) }})
	begin(t, calls, "1")
	answered(t, calls, "2")
	calls.Stop()
	calls.Stop()
	if !slices.Equal(causes, []Cause{Stopped, Stopped}) {
		t.Errorf("%v", causes)
	}
}

// All at once, for the race detector: what both sides send, who looks, what sweeps.
func TestConcurrent(t *testing.T) {
	var mu sync.Mutex
	ended := 0
	calls := New(Config{
		Describe: func([]byte) Media { return Media{} },
		Ended:    func(c *Call) { c.Record(); mu.Lock(); ended++; mu.Unlock() },
	})
	const n = 50
	var group sync.WaitGroup
	for i := range n {
		id := fmt.Sprint(i)
		group.Go(func() {
			r := answered(t, calls, id)
			var sides sync.WaitGroup
			sides.Go(func() { hangUp(t, calls, id) })
			sides.Go(func() { r.Leg(0, 487, false); r.Failed(487, ""); r.Cancel("") })
			sides.Go(func() {
				calls.Within(message(t, "UPDATE sip:x SIP/2.0", id, "b", ";tag=a", "", "offer"), bobFlow).Failed(481, "")
			})
			sides.Wait()
		})
	}
	group.Go(func() {
		for range 20 {
			calls.sweep()
			calls.List("", 10, nil)
			calls.Stats()
		}
	})
	group.Wait()
	if ended != n {
		t.Errorf("%d calls have ended, of %d", ended, n)
	}
}

// A call costs little memory, and holds none of its messages once they were described.
func TestMemory(t *testing.T) {
	calls := New(Config{Describe: func([]byte) Media { return Media{Codec: "opus"} }})
	const n = 1000
	large := "X-Large: " + strings.Repeat("x", 20_000) + "\r\n"
	before := heap()
	for i := range n {
		id := fmt.Sprintf("call-%d@host.invalid", i)
		invite := message(t, inviteLine, id, "caller-tag", "", "User-Agent: phone\r\n"+large, "offer")
		r := calls.Begin(invite, Party{Identity: invite.From().URI, AOR: invite.From().URI, Flow: aliceFlow}, invite.RequestURI())
		leg := r.Sent(invite.RequestURI(), Party{Flow: bobFlow, AOR: invite.To().URI, UserAgent: invite.RequestURI()})
		r.Response(leg, message(t, ringLine, id, "caller-tag", ";tag=callee-tag", large, ""))
		r.Response(leg, message(t, okLine, id, "caller-tag", ";tag=callee-tag", "Server: desk\r\n"+large, "answer"))
		calls.Within(message(t, "REFER sip:bob@x.invalid SIP/2.0", id, "caller-tag", ";tag=callee-tag", "Refer-To: <sip:carol@example.test>\r\n"+large, ""), aliceFlow)
		calls.Within(message(t, byeLine, id, "caller-tag", ";tag=callee-tag", "Reason: SIP;cause=200\r\n"+large, ""), aliceFlow).Failed(407, "")
	}
	calls.describe()
	if each := (heap() - before) / n; each > 2200 {
		t.Errorf("%d bytes a call", each)
	} else {
		t.Logf("%d bytes a call", each)
	}
	runtime.KeepAlive(calls)
}

// A call that has ended is not held by the request that began it, whose transactions live on.
func TestEndedIsCollected(t *testing.T) {
	calls := New(Config{})
	r := answered(t, calls, "1")
	call := weak.Make(r.call())
	hangUp(t, calls, "1")
	runtime.GC()
	if call.Value() != nil || r.Known() {
		t.Error("it is still there")
	}
	r.Response(0, message(t, okLine, "1", "a", ";tag=b", "", "")) // late, and noted nowhere
	runtime.KeepAlive(calls)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Requests within a dialog cost no allocation.
func TestAllocations(t *testing.T) {
	calls := New(Config{})
	answered(t, calls, "1")
	ack := message(t, "ACK sip:bob@x.invalid SIP/2.0", "1", "a", ";tag=b", "", "")
	invite := message(t, inviteLine, "1", "b", ";tag=a", "", "offer")
	ok := message(t, okLine, "1", "b", ";tag=a", "", "answer")
	for name, f := range map[string]func(){
		"ACK":       func() { calls.Within(ack, aliceFlow) },
		"re-INVITE": func() { calls.Within(invite, bobFlow).Response(-1, ok) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	calls := New(Config{})
	invite := message(b, inviteLine, "1", "a", "", "User-Agent: phone\r\n", "offer")
	ring := message(b, ringLine, "1", "a", ";tag=b", "", "")
	ok := message(b, okLine, "1", "a", ";tag=b", "Server: desk\r\n", "answer")
	ack := message(b, "ACK sip:bob@x.invalid SIP/2.0", "1", "a", ";tag=b", "", "")
	bye := message(b, byeLine, "1", "a", ";tag=b", "", "")
	caller, callee := Party{Identity: "alice@example.test", Flow: aliceFlow}, Party{Flow: bobFlow}
	b.ReportAllocs()
	for b.Loop() {
		r := calls.Begin(invite, caller, "bob@example.test")
		leg := r.Sent("sip:b@x.invalid", callee)
		r.Response(leg, ring)
		r.Response(leg, ok)
		calls.Within(ack, aliceFlow)
		calls.Within(bye, aliceFlow).Response(-1, ok)
	}
}
