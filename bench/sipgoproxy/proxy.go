// Package sipgoproxy is a third server for the comparison: a registrar and
// record-routing stateful proxy as one would write it on sipgo's API, and
// nothing besides. It is what a Go programmer gets who takes the library
// instead of a server.
//
// Bindings are kept in memory, REGISTER and the calls from one address are
// authenticated by digest with MD5, qop and a nonce count that must rise. Calls
// go to one binding, in server and client transactions of the library. Missing
// are CANCEL, forking, expiry, loop detection and everything else that the
// benchmark does not ask for.
package sipgoproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"github.com/sipway/sipway/bench/floor"
)

// Config says for whom to serve.
type Config struct {
	Domain     string
	Password   string     // of every user
	Challenged netip.Addr // whose calls need credentials
}

// proxy is the server. It is safe for concurrent use.
type proxy struct {
	cfg    Config
	server *sipgo.Server
	client *sipgo.Client
	listen map[string]sip.Addr // by transport
	auth   authenticator

	mu       sync.RWMutex
	users    map[string]binding // by name
	contacts map[string]binding // by user and host of the contact
}

// binding is where a user is reached.
type binding struct {
	contact           sip.Uri
	transport, source string
}

// maxDatagram is the largest message that goes over UDP. The library would refuse
// a browser's INVITE to a desk phone, which the other servers of the comparison
// send.
const maxDatagram = 65507

// Serve serves until ctx ends, and closes the listeners then. It may be called
// once at a time.
func Serve(ctx context.Context, l floor.Listeners, cfg Config) error {
	defer l.UDP.Close()
	defer l.TCP.Close()
	defer l.WS.Close()
	sip.UDPMTUSize = maxDatagram
	ua, err := sipgo.NewUA()
	if err != nil {
		return err
	}
	defer ua.Close()
	p := &proxy{
		cfg: cfg,
		listen: map[string]sip.Addr{
			"UDP": address(l.UDP.LocalAddr()), "TCP": address(l.TCP.Addr()), "WS": address(l.WS.Addr()),
		},
		auth:  authenticator{realm: cfg.Domain, password: cfg.Password, counts: make(map[string]int)},
		users: make(map[string]binding), contacts: make(map[string]binding),
	}
	if p.server, err = sipgo.NewServer(ua); err != nil {
		return err
	}
	if p.client, err = sipgo.NewClient(ua); err != nil {
		return err
	}
	p.server.OnRegister(p.register)
	p.server.OnOptions(p.options)
	p.server.OnInvite(p.invite)
	p.server.OnAck(p.ack)
	p.server.OnBye(p.forward)
	ended := make(chan error, 3)
	go func() { ended <- p.server.ServeUDP(l.UDP) }()
	go func() { ended <- p.server.ServeTCP(l.TCP) }()
	go func() { ended <- p.server.ServeWS(l.WS) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return errors.Join(errors.New("a listener has ended"), err)
	}
}

func address(a net.Addr) sip.Addr {
	at := netip.MustParseAddrPort(a.String())
	return sip.Addr{IP: at.Addr().AsSlice(), Port: int(at.Port()), Hostname: at.Addr().String()}
}

func (p *proxy) options(req *sip.Request, tx sip.ServerTransaction) {
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	res.AppendHeader(sip.NewHeader("Allow", "INVITE, ACK, BYE, OPTIONS, REGISTER"))
	respond(tx, res)
}

// register is RFC 3261 §10.3 for one contact.
func (p *proxy) register(req *sip.Request, tx sip.ServerTransaction) {
	name, challenge := p.auth.check(req, "Authorization")
	if challenge != "" {
		res := sip.NewResponseFromRequest(req, 401, "Unauthorized", nil)
		res.AppendHeader(sip.NewHeader("WWW-Authenticate", challenge))
		respond(tx, res)
		return
	}
	contact := req.Contact()
	if contact == nil || name != req.To().Address.User {
		respond(tx, sip.NewResponseFromRequest(req, 403, "Forbidden", nil))
		return
	}
	b := binding{contact: *contact.Address.Clone(), transport: req.Transport(), source: req.Source()}
	p.mu.Lock()
	p.users[name] = b
	p.contacts[contactKey(&b.contact)] = b
	p.mu.Unlock()
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	bound := contact.Clone()
	bound.Params.Add("expires", "3600")
	res.AppendHeader(bound)
	respond(tx, res)
}

func contactKey(u *sip.Uri) string { return u.User + "@" + u.Host }

// find returns where a request goes: to a user of the domain, or along a dialog
// to the contact in the Request-URI.
func (p *proxy) find(u *sip.Uri) (b binding, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if u.Host == p.cfg.Domain {
		b, ok = p.users[u.User]
	} else {
		b, ok = p.contacts[contactKey(u)]
	}
	return b, ok
}

func (p *proxy) invite(req *sip.Request, tx sip.ServerTransaction) {
	if from, err := netip.ParseAddrPort(req.Source()); err == nil && from.Addr() == p.cfg.Challenged {
		name, challenge := p.auth.check(req, "Proxy-Authorization")
		if challenge != "" {
			res := sip.NewResponseFromRequest(req, 407, "Proxy Authentication Required", nil)
			res.AppendHeader(sip.NewHeader("Proxy-Authenticate", challenge))
			respond(tx, res)
			// The transaction ends with this handler, and the ACK would be no part of it.
			select {
			case <-tx.Acks():
			case <-tx.Done():
			}
			return
		}
		if name != req.From().Address.User {
			respond(tx, sip.NewResponseFromRequest(req, 403, "Forbidden", nil))
			return
		}
		req.RemoveHeader("Proxy-Authorization")
	}
	respond(tx, sip.NewResponseFromRequest(req, 100, "Trying", nil))
	p.forward(req, tx)
}

// forward passes a request on in a client transaction, and its responses back.
func (p *proxy) forward(req *sip.Request, tx sip.ServerTransaction) {
	out, ok := p.prepare(req)
	if !ok {
		respond(tx, sip.NewResponseFromRequest(req, 404, "Not Found", nil))
		return
	}
	client, err := p.client.TransactionRequest(context.Background(), out, p.addVia)
	if err != nil {
		slog.Warn("request not sent", "method", req.Method, "to", out.Destination(), "error", err)
		respond(tx, sip.NewResponseFromRequest(req, 503, "Service Unavailable", nil))
		return
	}
	defer client.Terminate()
	for {
		select {
		case res := <-client.Responses():
			if res.StatusCode == 100 {
				continue
			}
			res.RemoveHeader("Via")
			res.SetDestination(req.Source())
			respond(tx, res)
			if res.StatusCode >= 200 {
				return
			}
		case <-client.Done():
			respond(tx, sip.NewResponseFromRequest(req, 408, "Request Timeout", nil))
			return
		case <-tx.Done():
			return
		}
	}
}

// ack passes on the ACK to a 2xx, which belongs to no transaction.
func (p *proxy) ack(req *sip.Request, _ sip.ServerTransaction) {
	out, ok := p.prepare(req)
	if !ok {
		return
	}
	if err := p.client.WriteRequest(out, p.addVia); err != nil {
		slog.Warn("ACK not sent", "error", err)
	}
}

// prepare makes the request to be sent (RFC 3261 §16.6) and says where to.
func (p *proxy) prepare(req *sip.Request) (*sip.Request, bool) {
	b, ok := p.find(&req.Recipient)
	if !ok {
		return nil, false
	}
	out := req.Clone()
	if sipgo.ClientRequestDecreaseMaxForward(p.client, out) != nil {
		return nil, false
	}
	for route := out.Route(); route != nil && p.own(&route.Address); route = out.Route() {
		out.RemoveHeader("Route")
	}
	if out.IsInvite() {
		out.Recipient = *b.contact.Clone()
		out.PrependHeader(p.recordRoute(req.Transport()))
		if b.transport != req.Transport() {
			out.PrependHeader(p.recordRoute(b.transport))
		}
	}
	out.SetTransport(b.transport)
	out.SetDestination(b.source)
	if b.transport == "UDP" {
		out.Laddr = p.listen["UDP"] // the socket that the peer knows
	}
	return out, true
}

// own reports whether a route leads here.
func (p *proxy) own(u *sip.Uri) bool {
	for _, at := range p.listen {
		if u.Host == at.Hostname && u.Port == at.Port {
			return true
		}
	}
	return false
}

func (p *proxy) recordRoute(transport string) *sip.RecordRouteHeader {
	at := p.listen[transport]
	return &sip.RecordRouteHeader{Address: sip.Uri{
		Scheme: "sip", Host: at.Hostname, Port: at.Port,
		UriParams: sip.HeaderParams{{K: "transport", V: sip.NetworkToLower(transport)}, {K: "lr"}},
	}}
}

// addVia puts our Via on top, and completes the one below it (RFC 3581 §4).
func (p *proxy) addVia(_ *sipgo.Client, req *sip.Request) error {
	if below := req.Via(); below != nil && below.Params.Has("rport") {
		host, port, err := net.SplitHostPort(req.Source())
		if err != nil {
			return err
		}
		below.Params.Add("rport", port)
		below.Params.Add("received", host)
	}
	at := p.listen[req.Transport()]
	via := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: req.Transport(),
		Host: at.Hostname, Port: at.Port,
	}
	via.Params.Add("branch", sip.GenerateBranchN(16))
	req.PrependHeader(via)
	return nil
}

// respond sends a response. One that can't be sent is for the peer to miss.
func respond(tx sip.ServerTransaction, res *sip.Response) {
	if err := tx.Respond(res); err != nil {
		slog.Warn("response not sent", "status", res.StatusCode, "error", err)
	}
}
