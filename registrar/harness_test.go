package registrar

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
)

const (
	domain = "example.test"
	alice  = "alice@" + domain
	bob    = "bob@" + domain
)

// network is the transport of a test: it keeps what is sent, and knows which connections
// have closed.
type network struct {
	mu   sync.Mutex
	dead map[uint64]bool
	sent map[sip.Flow][]string

	probes []probe
}

// probe is one call of Probe.
type probe struct {
	flow   uint64
	within time.Duration
}

func newNetwork() *network {
	return &network{dead: make(map[uint64]bool), sent: make(map[sip.Flow][]string)}
}

func (n *network) Send(f sip.Flow, b []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead[f.ID] {
		return errors.New("flow closed")
	}
	n.sent[f] = append(n.sent[f], string(b))
	return nil
}

func (n *network) Dial(context.Context, sip.Server) (sip.Flow, error) {
	return sip.Flow{}, errors.New("refused")
}

func (n *network) Alive(f sip.Flow) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.dead[f.ID]
}

func (n *network) Probe(f sip.Flow, within time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.probes = append(n.probes, probe{f.ID, within})
}

func (n *network) kill(f sip.Flow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead[f.ID] = true
}

// take returns what was sent over the flow since it was last asked.
func (n *network) take(f sip.Flow) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	sent := n.sent[f]
	delete(n.sent, f)
	return sent
}

// server is a registrar on the transaction layer, with a store and a network.
type server struct {
	t     testing.TB
	store store.Store
	net   *network
	auth  *auth.Authenticator
	reg   *Registrar
	layer *transaction.Layer

	notifier *Notifier
}

type options struct {
	reg   Config
	auth  auth.Config
	store store.Store
	net   *network
}

func (s *server) Request(tx *transaction.Server) {
	if tx.Request().Method() == sip.SUBSCRIBE {
		s.notifier.Request(tx)
		return
	}
	s.reg.Request(tx)
}

func (s *server) Ack(f sip.Flow, m *sip.Message) {}

// newServer returns a server for example.test; alice and bob have the password "secret".
func newServer(t testing.TB, o options) *server {
	t.Helper()
	s := &server{t: t, store: o.store, net: o.net}
	if s.store == nil {
		s.store = memory.New()
	}
	if s.net == nil {
		s.net = newNetwork()
	}
	var users []store.User
	for _, name := range []string{"alice", "bob"} {
		users = append(users, store.User{Name: name, Domain: domain, HA1: store.HA1{
			MD5:    digest.HA1(digest.MD5, name, domain, "secret"),
			SHA256: digest.HA1(digest.SHA256, name, domain, "secret"),
		}})
	}
	if err := s.store.PutUsers(context.Background(), users, store.Upsert); err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	o.auth.Key = []byte("0123456789abcdef")
	var err error
	if s.auth, err = auth.New(o.auth, s.store, s.net); err != nil {
		t.Fatal(err)
	}
	if o.reg.Domains == nil {
		o.reg.Domains = []string{domain, "Other.Test"}
	}
	if o.reg.Logger == nil {
		o.reg.Logger = slog.New(slog.DiscardHandler)
	}
	o.reg.GRUUKey = []byte("0123456789abcdef")
	s.reg = New(o.reg, s.store, s.auth, s.net)
	s.layer = transaction.New(transaction.Config{}, s.net, s)
	s.notifier = NewNotifier(s.reg, s.layer, func(sip.Flow) (string, uint16) { return "198.51.100.1", 5060 })
	return s
}

// inline believes everybody and never leaves the goroutine.
func inline(t testing.TB) *server {
	t.Helper()
	return newServer(t, options{reg: Config{Inline: true, AnyUser: true}, auth: auth.Config{Mode: auth.None}})
}

// closed ends a connection as a transport does: first it is dead, then all are told.
func (s *server) closed(f sip.Flow) {
	s.net.kill(f)
	s.layer.Closed(f, errors.New("closed"))
	s.auth.Closed(f)
	s.reg.Closed(f)
}

// deliver gives the text of a message, with plain line ends, to the transaction layer.
func (s *server) deliver(f sip.Flow, text string) {
	s.t.Helper()
	m, err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	if err != nil {
		s.t.Fatalf("%v\n%s", err, text)
	}
	s.layer.Receive(f, m)
}

// send delivers a message and returns the one response to it, with plain line ends, "" for
// none.
func (s *server) send(f sip.Flow, text string) string {
	s.t.Helper()
	s.deliver(f, text)
	return s.response(f)
}

func (s *server) response(f sip.Flow) string {
	s.t.Helper()
	sent := s.net.take(f)
	if len(sent) > 1 {
		s.t.Fatalf("%d responses: %q", len(sent), sent)
	}
	return strings.ReplaceAll(strings.Join(sent, ""), "\r\n", "\n")
}

// lookup returns the contacts of an AOR that can be reached.
func (s *server) lookup(aor string) []string {
	s.t.Helper()
	bindings, known := s.reg.Lookup(aor)
	if !known {
		s.t.Fatal("memory does not know")
	}
	var contacts []string
	for i := range bindings {
		contacts = append(contacts, bindings[i].Contact)
	}
	return contacts
}

// wsFlow returns the flow of a browser's connection.
func wsFlow(id uint64) sip.Flow {
	return sip.Flow{Transport: sip.WS, Remote: netip.MustParseAddrPort("192.0.2.2:4711"), ID: id}
}

func tcpFlow(id uint64) sip.Flow {
	f := wsFlow(id)
	f.Transport = sip.TCP
	return f
}

var udpFlow = sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}

// register is a REGISTER of alice.
type register struct {
	uri  string
	cseq int
}

var requests atomic.Int64 // the number of those written

// text writes the request with further lines; of the header fields that every request has,
// a line takes the place.
func (r register) text(lines ...string) string {
	base := []string{
		"From: <sip:alice@example.test>;tag=f",
		"To: <sip:alice@example.test>",
		"Call-ID: c",
		fmt.Sprintf("CSeq: %d REGISTER", r.cseq),
	}
	head := []string{
		"REGISTER " + r.uri + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/WS x.invalid;branch=z9hG4bK%d", requests.Add(1)),
	}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ":")
		at := slices.IndexFunc(base, func(l string) bool { return strings.HasPrefix(l, name+":") })
		if at >= 0 {
			base[at] = line
		} else {
			head = append(head, line)
		}
	}
	return strings.Join(append(head, base...), "\n") + "\n\n"
}

// regText is a REGISTER of alice with a higher CSeq than those before.
func regText(lines ...string) string {
	return register{uri: "sip:example.test", cseq: int(requests.Load()) + 1}.text(lines...)
}

var (
	statusOf  = regexp.MustCompile(`^SIP/2.0 (\d+ .*)`)
	contactOf = regexp.MustCompile(`(?m)^Contact: (.*)$`)
	nonceOf   = regexp.MustCompile(`nonce="([^"]*)"`)
)

// find returns the first group of a match, "" for none.
func find(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

func md5Hex(parts ...string) string {
	sum := md5.Sum([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(sum[:])
}

// answer is the credentials of a web client, which takes the last challenge.
func answer(challenged, name, password string, nc int) string {
	all := nonceOf.FindAllStringSubmatch(challenged, -1)
	nonce := all[len(all)-1][1]
	const uri, cnonce = "sip:" + domain, "ffm5ntumjfnd"
	count := fmt.Sprintf("%08x", nc)
	response := md5Hex(md5Hex(name, domain, password), nonce, count, cnonce, "auth", md5Hex("REGISTER", uri))
	return fmt.Sprintf(`Digest algorithm=MD5, username="%s", realm="%s", nonce="%s", uri="%s", response="%s", qop=auth, cnonce="%s", nc=%s`,
		name, domain, nonce, uri, response, cnonce, count)
}
