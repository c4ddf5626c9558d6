package interop

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// A deskPhone is a phone built on sipgo: SIP as another stack speaks it, over
// TCP, UDP or TLS, with no media. It knows the server as its outbound proxy by a
// Route, as desk phones do, and its Contact is where its connection comes from.
// Over TLS all of its URIs are sips ones.
type deskPhone struct {
	name   string
	box    *mailbox
	over   string // transport
	route  string
	domain sip.Uri
	ua     *sipgo.UserAgent
	client *sipgo.Client
	dialog sipgo.DialogUA

	// web makes it offer what browsers accept; as the called party it always
	// answers in the kind of the offer.
	web bool

	mu    sync.Mutex
	calls []*deskCall // call n is calls[n-1]
	heard []message   // of calls, what came in
}

// A message is a request or a response.
type message interface {
	sip.Message
	GetHeader(name string) sip.Header
	GetHeaders(name string) []sip.Header
}

// A deskCall is one call of a deskPhone: placed or received, never both.
type deskCall struct {
	number   int
	placed   *sipgo.DialogClientSession
	received *sipgo.DialogServerSession
	cancel   context.CancelFunc // of the INVITE that was placed
	stands   bool
}

// newDeskPhone makes a phone that talks to the server over that transport,
// "tcp", "udp" or "tls".
func newDeskPhone(t *testing.T, s *server, transport, user string) *deskPhone {
	t.Helper()
	scheme := "sip"
	if transport == "tls" {
		scheme = "sips"
	}
	return deskPhoneOf(t, sip.Uri{Scheme: scheme, User: user, Host: domain}, transport, s.addr(transport))
}

// deskPhoneOf makes the phone of an AOR, whose scheme is that of all its URIs, that talks to the
// server at an address.
func deskPhoneOf(t *testing.T, aor sip.Uri, transport, registrar string) *deskPhone {
	t.Helper()
	scheme, user := aor.Scheme, aor.User
	believes, err := believing()
	if err != nil {
		t.Fatal(err)
	}
	ua, err := sipgo.NewUA(sipgo.WithUserAgent(user), sipgo.WithUserAgentHostname(aor.Host),
		sipgo.WithUserAgenTLSConfig(believes))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ua.Close() })
	own := freePort(t)
	client, err := sipgo.NewClient(ua, sipgo.WithClientConnectionAddr(own))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sipgo.NewServer(ua)
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(own)
	number, _ := strconv.Atoi(port)
	named := transport
	if scheme == "sips" {
		named = "tcp" // RFC 5630 §5.1.1: never "transport=tls"
	}
	contact := sip.Uri{Scheme: scheme, User: user, Host: host, Port: number, UriParams: sip.NewParams()}
	contact.UriParams.Add("transport", named)
	p := &deskPhone{
		name:   user,
		box:    newMailbox(user + " (sipgo, " + transport + ")"),
		over:   transport,
		route:  "<" + scheme + ":" + registrar + ";transport=" + named + ";lr>",
		domain: sip.Uri{Scheme: scheme, Host: aor.Host},
		ua:     ua,
		client: client,
		dialog: sipgo.DialogUA{Client: client, ContactHDR: sip.ContactHeader{Address: contact}},
	}
	srv.OnInvite(p.invited)
	srv.OnAck(p.acked)
	srv.OnBye(p.byed)
	srv.OnNotify(p.notified)
	srv.OnOptions(func(req *sip.Request, tx sip.ServerTransaction) {
		tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
	})
	return p
}

func (p *deskPhone) user() string    { return p.name }
func (p *deskPhone) inbox() *mailbox { return p.box }

func (p *deskPhone) register(t *testing.T)   { t.Helper(); p.sendRegister(t, 600, "registered") }
func (p *deskPhone) unregister(t *testing.T) { t.Helper(); p.sendRegister(t, 0, "unregistered") }

// sendRegister does a REGISTER and its repetition with credentials.
func (p *deskPhone) sendRegister(t *testing.T, expires int, done string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req := p.request(sip.REGISTER, p.domain)
	aor := p.domain
	aor.User = p.name
	req.AppendHeader(&sip.ToHeader{Address: aor})
	req.AppendHeader(sip.HeaderClone(&p.dialog.ContactHDR))
	req.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(expires)))
	res, err := p.client.Do(ctx, req)
	if err == nil && res.StatusCode == sip.StatusUnauthorized {
		res, err = p.client.DoDigestAuth(ctx, req, res, p.credentials())
	}
	if err != nil {
		t.Fatalf("%s: REGISTER: %v", p.box.owner, err)
	}
	if res.StatusCode != sip.StatusOK {
		t.Fatalf("%s: REGISTER: %s", p.box.owner, res.StartLine())
	}
	p.box.post(event{Kind: done, Status: res.StatusCode})
}

func (p *deskPhone) credentials() sipgo.DigestAuth {
	return sipgo.DigestAuth{Username: p.name, Password: password(p.name)}
}

func (p *deskPhone) request(method sip.RequestMethod, to sip.Uri) *sip.Request {
	req := sip.NewRequest(method, to)
	req.AppendHeader(sip.NewHeader("Route", p.route))
	if p.over != "udp" {
		req.SetTransport(strings.ToUpper(p.over))
	}
	return req
}

func (p *deskPhone) add(c *deskCall) *deskCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	c.number = len(p.calls)
	return c
}

// hear notes a message of a call.
func (p *deskPhone) hear(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, m)
}

// messages returns what was heard, in order.
func (p *deskPhone) messages() []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard)
}

func (p *deskPhone) call(number int) *deskCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[number-1]
}

// dial calls a user of the phone's domain, or of another one: user@domain.
func (p *deskPhone) dial(t *testing.T, target string) int {
	t.Helper()
	to := p.domain
	if user, host, ok := strings.Cut(target, "@"); ok {
		to.Host, target = host, user
	}
	to.User = target
	req := p.request(sip.INVITE, to)
	req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	body := plainSDP
	if p.web {
		body = webSDP("0", "actpass")
	}
	req.SetBody([]byte(body))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	session, err := p.dialog.WriteInvite(ctx, req)
	if err != nil {
		t.Fatalf("%s: INVITE: %v", p.box.owner, err)
	}
	c := p.add(&deskCall{placed: session, cancel: cancel})
	go p.await(ctx, c)
	return c.number
}

// await follows a call that was placed until it stands or has failed.
func (p *deskPhone) await(ctx context.Context, c *deskCall) {
	auth := p.credentials()
	err := c.placed.WaitAnswer(ctx, sipgo.AnswerOptions{
		Username: auth.Username, Password: auth.Password,
		OnResponse: func(res *sip.Response) error {
			p.hear(res)
			if res.IsProvisional() && res.StatusCode != 100 {
				p.box.post(event{Kind: "progress", Call: c.number, Status: res.StatusCode})
			}
			return nil
		},
	})
	if err == nil {
		p.stand(c)
		err = c.placed.Ack(ctx)
	}
	var refused *sipgo.ErrDialogResponse
	switch {
	case err == nil:
		p.box.post(event{Kind: "established", Call: c.number})
	case errors.As(err, &refused):
		p.box.post(event{Kind: "failed", Call: c.number, Originator: "remote", Status: refused.Res.StatusCode})
	default:
		failed := event{Kind: "failed", Call: c.number, Originator: "local", Cause: err.Error()}
		if res := c.placed.InviteResponse; res != nil {
			failed.Status = res.StatusCode
		}
		p.box.post(failed)
	}
}

func (p *deskPhone) stand(c *deskCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.stands = true
}

func (p *deskPhone) invited(req *sip.Request, tx sip.ServerTransaction) {
	p.hear(req)
	ua := p.dialog
	ua.ContactHDR.Address.Scheme = req.Recipient.Scheme // RFC 5630 §5.1.2
	session, err := ua.ReadInvite(req, tx)
	if err != nil {
		tx.Respond(sip.NewResponseFromRequest(req, sip.StatusBadRequest, err.Error(), nil))
		return
	}
	c := p.add(&deskCall{received: session})
	session.OnState(func(state sip.DialogState) {
		// Before the answer only the caller's CANCEL ends it.
		if cause := context.Cause(session.Context()); errors.Is(cause, sip.ErrTransactionCanceled) {
			p.box.post(event{Kind: "failed", Call: c.number, Originator: "remote"})
		}
	})
	if err := session.Respond(sip.StatusRinging, "Ringing", nil); err != nil {
		p.box.post(event{Kind: "failed", Call: c.number, Cause: err.Error()})
		return
	}
	p.box.post(event{Kind: "incoming", Call: c.number, Peer: req.From().Address.User})
	// The transaction lives as long as its handler.
	<-tx.Done()
}

func (p *deskPhone) answer(t *testing.T, call int) {
	t.Helper()
	c := p.call(call)
	p.stand(c)
	go func() {
		// Returns when the ACK has come.
		if err := c.received.RespondSDP([]byte(answerSDP(c.received.InviteRequest.Body()))); err != nil {
			p.box.post(event{Kind: "failed", Call: call, Cause: err.Error()})
			return
		}
		p.box.post(event{Kind: "established", Call: call})
	}()
}

func (p *deskPhone) reject(t *testing.T, call, status int) {
	t.Helper()
	if err := p.call(call).received.Respond(status, "Refused", nil); err != nil {
		t.Fatalf("%s: %d: %v", p.box.owner, status, err)
	}
	p.box.post(event{Kind: "failed", Call: call, Originator: "local", Status: status})
}

func (p *deskPhone) hangup(t *testing.T, call int) {
	t.Helper()
	c := p.call(call)
	p.mu.Lock()
	stands := c.stands
	p.mu.Unlock()
	if !stands {
		c.cancel()
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	if c.placed != nil {
		err = c.placed.Bye(ctx)
	} else {
		err = c.received.Bye(ctx)
	}
	if err != nil {
		t.Fatalf("%s: BYE: %v", p.box.owner, err)
	}
	p.box.post(event{Kind: "ended", Call: call, Originator: "local"})
}

// find returns the call that a request in a dialog is for.
func (p *deskPhone) find(req *sip.Request) *deskCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	uas, _ := sip.DialogIDFromRequestUAS(req)
	uac, _ := sip.DialogIDFromRequestUAC(req)
	for _, c := range p.calls {
		if c.received != nil && c.received.ID == uas || c.placed != nil && c.stands && c.placed.ID == uac {
			return c
		}
	}
	return nil
}

func (p *deskPhone) acked(req *sip.Request, tx sip.ServerTransaction) {
	p.hear(req)
	if c := p.find(req); c != nil && c.received != nil {
		c.received.ReadAck(req, tx)
	}
}

func (p *deskPhone) byed(req *sip.Request, tx sip.ServerTransaction) {
	p.hear(req)
	c := p.find(req)
	if c == nil {
		tx.Respond(sip.NewResponseFromRequest(req, sip.StatusCallTransactionDoesNotExists, "No such call", nil))
		return
	}
	var err error
	if c.placed != nil {
		err = c.placed.ReadBye(req, tx)
	} else {
		err = c.received.ReadBye(req, tx)
	}
	if err != nil {
		p.box.post(event{Kind: "failed", Call: c.number, Cause: err.Error()})
		return
	}
	p.box.post(event{Kind: "ended", Call: c.number, Originator: "remote"})
}
