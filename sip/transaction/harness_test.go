package transaction

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

var (
	here  = netip.MustParseAddrPort("198.51.100.1:5060")
	there = netip.MustParseAddrPort("192.0.2.1:5070")

	udp = sip.Flow{Transport: sip.UDP, Local: here, Remote: there}
	tcp = sip.Flow{Transport: sip.TCP, Local: here, Remote: there, ID: 7}
	ws  = sip.Flow{Transport: sip.WS, Local: here, Remote: there, ID: 8}

	errBroken = errors.New("broken pipe")
)

// rig is a layer between a recorded wire and a recorded user. Everything that leaves the
// layer becomes a line: "send INVITE", "tell 200", "request BYE".
type rig struct {
	*Layer
	t     testing.TB
	epoch time.Time

	mu       sync.Mutex
	log      []string
	stamped  []string // the same with the virtual time before it
	packets  []packet
	fail     map[sip.Flow]error // what Send returns
	dial     func(context.Context, sip.Transport, netip.AddrPort) (sip.Flow, error)
	onSend   func(sip.Flow, *sip.Message)
	onUser   func(*Server) // what the user does with a request
	requests []*Server
	acks     []*sip.Message
}

type packet struct {
	flow sip.Flow
	b    []byte
	m    *sip.Message
}

func newRig(t testing.TB, cfg Config) *rig {
	r := &rig{t: t, epoch: time.Now(), fail: make(map[sip.Flow]error)}
	r.Layer = New(cfg, r, r)
	return r
}

func (r *rig) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, line)
	r.stamped = append(r.stamped, fmt.Sprintf("%v %s", time.Since(r.epoch), line))
}

// breaks makes every message fail that is sent on one of the flows from now on.
func (r *rig) breaks(flows ...sip.Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range flows {
		r.fail[f] = errBroken
	}
}

// restart lets the times of the log run from now.
func (r *rig) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch = time.Now()
}

// taken returns the log and empties it.
func (r *rig) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.log
	r.log, r.stamped = nil, nil
	return log
}

// want compares the log with lines and empties it.
func (r *rig) want(lines ...string) {
	r.t.Helper()
	if got := r.taken(); !slices.Equal(got, lines) {
		r.t.Errorf("got  %q\nwant %q", got, lines)
	}
}

// wantTimes compares the log and its virtual times with lines and empties it.
func (r *rig) wantTimes(lines ...string) {
	r.t.Helper()
	r.mu.Lock()
	got := r.stamped
	r.mu.Unlock()
	r.taken()
	if !slices.Equal(got, lines) {
		r.t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

func (r *rig) sent() packet {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.packets) == 0 {
		r.t.Fatal("nothing was sent")
	}
	return r.packets[len(r.packets)-1]
}

// Send implements Sender.
func (r *rig) Send(f sip.Flow, b []byte) error {
	m, err := sip.Parse(slices.Clone(b))
	if err != nil {
		r.t.Errorf("sent what can't be read: %v\n%s", err, b)
		return nil
	}
	r.mu.Lock()
	fail, hook := r.fail[f], r.onSend
	if fail == nil {
		r.packets = append(r.packets, packet{f, b, m})
	}
	r.mu.Unlock()
	if hook != nil {
		hook(f, m)
	}
	if fail != nil {
		r.note("fail %s", word(m))
		return fail
	}
	r.note("send %s", word(m))
	return nil
}

// Dial implements Sender.
func (r *rig) Dial(ctx context.Context, to sip.Server) (sip.Flow, error) {
	r.note("dial %s %s", to.Transport, to.Addr)
	return r.dial(ctx, to.Transport, to.Addr)
}

// Request implements User.
func (r *rig) Request(tx *Server) {
	r.mu.Lock()
	r.requests = append(r.requests, tx)
	do := r.onUser
	r.mu.Unlock()
	r.note("request %s", tx.Request().Method())
	tx.Handle(serverRecorder{r})
	if do != nil {
		do(tx)
	}
}

// Ack implements User.
func (r *rig) Ack(_ sip.Flow, ack *sip.Message) {
	r.mu.Lock()
	r.acks = append(r.acks, ack)
	r.mu.Unlock()
	r.note("ack")
}

func word(m *sip.Message) string {
	if m.IsRequest() {
		return string(m.Method())
	}
	return fmt.Sprint(m.Status())
}

func errWord(err error) string {
	switch {
	case errors.Is(err, ErrTimeout):
		return "timeout"
	case errors.Is(err, ErrTransport):
		return "transport"
	}
	return err.Error()
}

type serverRecorder struct{ *rig }

func (r serverRecorder) Cancel(*Server, *sip.Message) { r.note("tell CANCEL") }
func (r serverRecorder) Error(_ *Server, err error)   { r.note("tell %s", errWord(err)) }

type clientRecorder struct{ *rig }

func (r clientRecorder) Response(_ *Client, m *sip.Message) { r.note("tell %d", m.Status()) }
func (r clientRecorder) Error(_ *Client, err error)         { r.note("tell %s", errWord(err)) }

// elapse lets virtual time pass and everything that falls due happen.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// wantEmpty checks that no transaction is left anywhere.
func (r *rig) wantEmpty() {
	r.t.Helper()
	s := r.Stats()
	if n := s.InviteClients + s.Clients + s.InviteServers + s.Servers; n != 0 {
		r.t.Errorf("transactions are left: %+v", s)
	}
	for i := range shards {
		n := r.servers.shards[i].n + r.clients.shards[i].n
		if n != 0 || r.flows.shards[i].heads != [flowLists]*member{} {
			r.t.Errorf("%d entries are left in the tables", n)
		}
	}
	for i := range r.answers.shards {
		if s := &r.answers.shards[i]; s.n != 0 || len(s.blocks) != 0 || len(s.buckets) > minBuckets {
			r.t.Errorf("%d answers are left in %d blocks, %d buckets", s.n, len(s.blocks), len(s.buckets))
		}
	}
}

// bubble runs f with virtual time on a fresh rig and checks that nothing is left in the end.
func bubble(t *testing.T, cfg Config, f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cfg)
		f(r)
		elapse(10 * time.Minute)
		r.wantEmpty()
	})
}

func parse(t testing.TB, text string) *sip.Message {
	t.Helper()
	m, err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

const requestText = `%[1]s sip:bob@example.test SIP/2.0
Via: SIP/2.0/%[2]s 192.0.2.1:5070;branch=%[3]s;rport
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKolder
Max-Forwards: 70
Route: <sip:198.51.100.1;lr>, <sip:198.51.100.2;lr>
Route: <sip:198.51.100.3;lr>
From: "Alice" <sip:alice@example.test>;tag=a1
To: <sip:bob@example.test>
Call-ID: call-1
CSeq: 42 %[4]s
Proxy-Require: foo
Content-Length: 0
`

// request makes a request as it arrives on f. An ACK or a CANCEL is that of the INVITE with
// the same branch.
func newRequest(t testing.TB, method sip.Method, f sip.Flow, branch string) *sip.Message {
	t.Helper()
	m := parse(t, fmt.Sprintf(requestText, method, f.Transport, branch, method))
	m.SetReceived(f.Remote)
	return m
}

// response makes a response to a request that was sent.
func newResponse(req *sip.Message, status int) *sip.Message {
	return sip.NewResponse(req, status, "", "b1")
}
