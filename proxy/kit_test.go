package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
)

// world is a proxy for example.test with its real transaction layer and authenticator,
// between peers that are flows. It runs in a synctest bubble.
type world struct {
	t     *testing.T
	layer *transaction.Layer
	proxy *Proxy
	auth  *auth.Authenticator

	mu       sync.Mutex
	wire     []packet
	opened   map[uint64]sip.Flow
	closed   map[uint64]bool
	waiters  map[*func([]store.Binding)]string // AORs
	lost     map[string]bool
	probed   []sip.Flow
	refused  map[netip.AddrPort]bool // Dial over TCP fails
	deaf     map[netip.AddrPort]bool // Dial over TCP does not return
	dials    int                     // over TCP
	told     []string                // what the locator was told
	bindings map[string][]store.Binding
	contacts map[string]string // AOR by the user part of an unresolvable contact
	failed   []string          // contacts whose flow was said to have failed
	cold     bool              // nothing is in memory: the store is asked
	broken   bool              // and fails
	ended    []dialog.Record   // calls

	usersAsked chan struct{} // where set, the store of users answers when it is closed

	onSend func(p packet) // called once, within the Send of the next INVITE
}

type packet struct {
	to sip.Flow
	m  *sip.Message
}

// Peers of the tests: two browsers, a TCP phone, UDP phones.
var (
	aliceWS  = wsFlow(1, 4001)
	bobWS    = wsFlow(2, 4002)
	bobTab   = wsFlow(3, 4003)
	carolTCP = sip.Flow{Transport: sip.TCP, Local: addr(5060), Remote: addr(4004), ID: 4}
	daveUDP  = sip.Flow{Transport: sip.UDP, Local: addr(5060), Remote: netip.MustParseAddrPort("192.0.2.7:5060")}
	trusted  = auth.Peer{Prefix: netip.MustParsePrefix("192.0.2.128/28")}
	stranger = sip.Flow{Transport: sip.UDP, Local: addr(5060), Remote: netip.MustParseAddrPort("203.0.113.9:5060")}
)

func addr(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

func wsFlow(id uint64, port uint16) sip.Flow {
	return sip.Flow{Transport: sip.WS, Local: addr(8080), Remote: addr(port), ID: id}
}

// run runs a test in a bubble, and fails it if a transaction is left over.
func run(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(w)
		w.expectNothing()
	})
}

func newWorld(t *testing.T) *world {
	w := newWorldFor(t)
	w.t = t
	return w
}

func newWorldFor(t testing.TB) *world {
	w := &world{
		opened:   make(map[uint64]sip.Flow),
		closed:   make(map[uint64]bool),
		refused:  make(map[netip.AddrPort]bool),
		deaf:     make(map[netip.AddrPort]bool),
		bindings: make(map[string][]store.Binding),
		waiters:  make(map[*func([]store.Binding)]string),
		lost:     make(map[string]bool),
	}
	w.layer = transaction.New(transaction.Config{}, w, w)
	key := []byte("0123456789abcdef0123456789abcdef")
	var err error
	w.auth, err = auth.New(auth.Config{Key: key, FlowCalls: true, Trusted: []auth.Peer{trusted}}, w, w)
	if err != nil {
		t.Fatal(err)
	}
	w.proxy = New(Config{
		Domains: []string{"example.test"},
		Local:   func(host string, port uint16) bool { return host == "198.51.100.1" },
		SentBy: func(f sip.Flow) (string, uint16) {
			if f.Transport.WebSocket() {
				return "198.51.100.1", 8080
			}
			return "198.51.100.1", 5060
		},
		Key:    key,
		Logger: slog.New(slog.DiscardHandler),
	}, Services{Transactions: w.layer, Network: w, Locations: w, Users: w, Auth: w.auth, Locator: w, Calls: dialog.New(dialog.Config{
		Reachable: func(p *dialog.Party) (sip.Flow, bool) { return w.proxy.Reachable(p) },
		Describe:  func(sdp []byte) dialog.Media { return dialog.Media{Codec: string(sdp)} },
		Ended:     w.callEnded,
	})})
	for _, f := range []sip.Flow{aliceWS, bobWS, bobTab, carolTCP} {
		w.open(f)
	}
	w.auth.Bind(aliceWS, "alice@example.test", farFuture())
	return w
}

// during has hook called within the Send of the next INVITE.
func (w *world) during(hook func(p packet)) {
	w.mu.Lock()
	w.onSend = hook
	w.mu.Unlock()
}

// The world is the transport below the transactions and the proxy.

func (w *world) Send(f sip.Flow, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.ID != 0 && w.closed[f.ID] {
		return errors.New("flow closed")
	}
	m, err := sip.Parse(append([]byte(nil), b...))
	if err != nil {
		w.t.Errorf("sent what can't be parsed: %v\n%s", err, b)
		return nil
	}
	w.wire = append(w.wire, packet{f, m})
	if hook := w.onSend; hook != nil && m.Method() == sip.INVITE && m.IsRequest() {
		w.onSend = nil
		w.mu.Unlock()
		hook(packet{f, m})
		w.mu.Lock()
	}
	return nil
}

func (w *world) Dial(ctx context.Context, to sip.Server) (sip.Flow, error) {
	t, remote := to.Transport, to.Addr
	w.mu.Lock()
	defer w.mu.Unlock()
	if t == sip.TCP {
		w.dials++
	}
	if t == sip.TCP && w.deaf[remote] {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return sip.Flow{}, context.Cause(ctx)
	}
	if t.Reliable() && w.refused[remote] {
		return sip.Flow{}, errors.New("connection refused")
	}
	f := sip.Flow{Transport: t, Local: addr(5060), Remote: remote}
	if t.Reliable() {
		f.ID = dialledID(remote)
		for w.closed[f.ID] {
			f.ID += 1 << 32
		}
	}
	return f, nil
}

// dialledID is the incarnation of a connection that was dialled.
func dialledID(remote netip.AddrPort) uint64 {
	a := remote.Addr().As16()
	return 1000 + uint64(a[15])<<16 + uint64(remote.Port())
}

func (w *world) Alive(f sip.Flow) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.closed[f.ID]
}

func (w *world) ProbeSilent(f sip.Flow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probed = append(w.probed, f)
}

func (w *world) Flow(id uint64) (sip.Flow, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f, ok := w.opened[id]
	return f, ok && !w.closed[id]
}

// names are the names that the locator knows, with their servers.
var names = map[string][]string{
	"pbx.example.net":  {"192.0.2.20", "192.0.2.21"},
	"pool.example.net": {"192.0.2.20", "192.0.2.21", "192.0.2.22"},
	"odd.example.net":  {"127.0.0.1", "192.0.2.21"},
}

func (w *world) Usable(s sip.Server) bool { return w.note("usable", s, 0) }

func (w *world) Failed(s sip.Server, d time.Duration)   { w.note("failed", s, d) }
func (w *world) Declined(s sip.Server, d time.Duration) { w.note("declined", s, d) }
func (w *world) Answered(s sip.Server)                  { w.note("answered", s, 0) }

// note keeps what the locator was told of a server, and tells whether it has failed.
func (w *world) note(what string, s sip.Server, d time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if what != "usable" {
		w.told = append(w.told, strings.TrimSuffix(fmt.Sprintf("%s %v %v", s, what, d), " 0s"))
	}
	return !slices.ContainsFunc(w.told, func(t string) bool { return strings.HasPrefix(t, s.String()+" failed") })
}

// Locate knows addresses and names.
func (w *world) Locate(u *sip.URI) func(context.Context) (sip.Server, error) {
	t := sip.UDP
	if name, ok := u.Params.Get("transport"); ok {
		t, _ = sip.ParseTransport(name)
	}
	var servers []sip.Server
	hosts := names[u.Host]
	if hosts == nil {
		hosts = []string{u.Host}
	}
	for _, host := range hosts {
		if addr, ok := sip.HostAddr(host); ok {
			s := sip.Server{Transport: t, Addr: netip.AddrPortFrom(addr, cmp.Or(u.Port, t.DefaultPort()))}
			servers = append(servers, s)
		}
	}
	return func(context.Context) (s sip.Server, err error) {
		if len(servers) == 0 {
			return s, io.EOF
		}
		s, servers = servers[0], servers[1:]
		return s, nil
	}
}

// It is also the location service and the users, all with the password "secret".

func (w *world) Lookup(aor string) ([]store.Binding, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bindings[aor], !w.cold
}

func (w *world) Lost(aor string) bool { return w.lost[aor] }

func (w *world) Await(aor string, bound func([]store.Binding)) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiters[&bound] = aor
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiters, &bound)
	}
}

func (w *world) LookupStore(_ context.Context, aor string) ([]store.Binding, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return nil, store.ErrUnavailable
	}
	return w.bindings[aor], nil
}

func (w *world) CachedUser(name, domain string) (store.User, bool, bool) {
	if w.cold {
		return store.User{}, false, false
	}
	u, err := w.User(context.Background(), name, domain)
	return u, err == nil, true
}

func (w *world) User(_ context.Context, name, domain string) (u store.User, err error) {
	if w.usersAsked != nil {
		<-w.usersAsked
	}
	if domain != "example.test" || !strings.Contains("alice bob carol dave", name) {
		return u, store.ErrNotFound
	}
	u.Name, u.Domain = name, domain
	u.HA1.MD5 = digest.HA1(digest.MD5, name, domain, "secret")
	return u, nil
}

// And it wires the layer to the proxy.

func (w *world) Request(tx *transaction.Server)   { w.proxy.Request(tx) }
func (w *world) Ack(f sip.Flow, ack *sip.Message) { w.proxy.Ack(f, ack) }
func (w *world) Answer(f sip.Flow, m *sip.Message) *sip.Message {
	return w.proxy.Answer(f, m)
}

// bind registers a contact.
func (w *world) bind(user, contact string, f sip.Flow) {
	aor := user + "@example.test"
	w.rebind(aor, func(list []store.Binding) []store.Binding {
		return append(list, store.Binding{AOR: aor, Contact: contact, Q: 1000, Flow: f})
	})
}

// rebind changes a copy of an AOR's bindings: who was given them before keeps what he has.
func (w *world) rebind(aor string, change func([]store.Binding) []store.Binding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bindings[aor] = change(slices.Clone(w.bindings[aor]))
}

// open adds a connection.
func (w *world) open(f sip.Flow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened[f.ID] = f
}

// comeBack has a user register over a flow while others may wait for that.
func (w *world) comeBack(user, contact string, f sip.Flow) {
	w.comeBackAs(user, contact, f, "")
}

func (w *world) comeBackAs(user, contact string, f sip.Flow, instance string) {
	w.bindInstance(user, contact, f, instance, 0, 0)
	aor := user + "@example.test"
	bound := w.bindings[aor][len(w.bindings[aor])-1:]
	w.mu.Lock()
	var told []func([]store.Binding)
	for waiter, of := range w.waiters {
		if of == aor {
			told = append(told, *waiter)
		}
	}
	w.mu.Unlock()
	for _, tell := range told {
		tell(bound)
	}
	synctest.Wait()
}

// closeFlow closes a connection.
func (w *world) closeFlow(f sip.Flow) {
	w.mu.Lock()
	w.closed[f.ID] = true
	w.mu.Unlock()
	w.layer.Closed(f, errors.New("gone"))
}

// receive has a message arrive, written with one header line a line.
func (w *world) receive(f sip.Flow, text string) {
	w.t.Helper()
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "\r\n") + "\r\n\r\n"
	m, err := sip.Parse([]byte(text))
	if err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	if m.IsRequest() {
		m.SetReceived(f.Remote)
	}
	w.layer.Receive(f, m)
	synctest.Wait()
}

// next returns the next message that was sent to f, which must begin with start.
func (w *world) next(f sip.Flow, start string) *sip.Message {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, p := range w.wire {
		if p.to != f {
			continue
		}
		if first, _, _ := strings.Cut(p.m.String(), "\r\n"); !strings.HasPrefix(first, start) {
			w.t.Fatalf("sent %q to %v; want %q", first, f, start)
		}
		w.wire = slices.Delete(w.wire, i, i+1)
		return p.m
	}
	w.t.Fatalf("nothing was sent to %v; want %q; to others: %v", f, start, w.wire)
	return nil
}

func (w *world) expectNothing() {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.wire {
		w.t.Errorf("sent besides, to %v:\n%s", p.to, p.m)
	}
}

// respond answers a request as its receiver would.
func (w *world) respond(f sip.Flow, req *sip.Message, status int, headers ...string) {
	w.t.Helper()
	m := sip.NewResponse(req, status, "", "tag-"+f.Remote.String())
	for rr := range req.Lines(sip.HRecordRoute) {
		m.Append(sip.HRecordRoute, rr)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		m.AppendNamed(name, value)
	}
	w.receive(f, strings.ReplaceAll(strings.TrimSuffix(m.String(), "\r\n\r\n"), "\r\n", "\n"))
}

// newRequest writes a request of a user outside a dialog.
func newRequest(method, uri, from, via string, more ...string) string {
	return fmt.Sprintf(`%[1]s %[2]s SIP/2.0
Via: SIP/2.0/%[4]s;branch=z9hG4bK%[5]x
Max-Forwards: 70
From: <sip:%[3]s>;tag=from
To: <%[2]s>
Call-ID: call
CSeq: 1 %[1]s
Content-Length: 0
%[6]s`, method, uri, from, via, method+uri, strings.Join(more, "\n"))
}

// wait lets virtual time pass.
func (w *world) wait(d time.Duration) { <-time.After(d) }
