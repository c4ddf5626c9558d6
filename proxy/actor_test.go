package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// actor is a user agent of a script, at the other end of one flow. It does by itself what
// every user agent does: it acknowledges a final response above 2xx, answers a CANCEL with
// 200, and passes over retransmissions.
type actor struct {
	s       *script
	name    string
	aor     string // From of its requests
	flow    sip.Flow
	contact string
	aors    []string // registered with its flow

	inbox []*sip.Message
	seen  map[string]bool // bytes of what was received

	request  *sip.Message            // the last one received, but ACK and CANCEL
	requests map[string]*sip.Message // the last one received of each method
	sent     map[string]*sip.Message // the last one sent of each method
	unacked  map[string]bool         // branches of INVITEs answered above 2xx
	n        int                     // branches and tags given out
	dialog   uaDialog
}

// uaDialog is the dialog state of the last 2xx or INVITE (RFC 3261 §12.1).
type uaDialog struct {
	callID        string
	local, remote string // From or To, with tags
	target        string
	routes        []string
	seq           int
}

// declare makes an actor: "alice = ws alice@example.test", "pbx = udp 192.0.2.20:5060".
func (s *script) declare(name string, what []string) {
	a := &actor{
		s: s, name: name, seen: make(map[string]bool), requests: make(map[string]*sip.Message),
		sent: make(map[string]*sip.Message), unacked: make(map[string]bool),
	}
	s.actors[name] = a
	s.names = append(s.names, name)
	transport, ok := sip.ParseTransport(what[0])
	if !ok {
		s.fail("no transport %s", what[0])
	}
	id := uint64(100 * len(s.names))
	a.contact = fmt.Sprintf("sip:%s@%s.invalid;transport=ws", name, name)
	if transport.WebSocket() {
		a.flow = wsFlow(id, uint16(6000+id))
		a.flow.Transport = transport
	}
	for _, word := range what[1:] {
		if remote, err := netip.ParseAddrPort(word); err == nil {
			a.flow, _ = s.w.Dial(s.t.Context(), sip.Server{Transport: transport, Addr: remote})
			a.contact = fmt.Sprintf("sip:%s@%s", name, word)
			if transport != sip.UDP {
				a.contact += ";transport=" + transport.Param()
			}
		} else {
			a.aor = word
		}
	}
	s.w.open(a.flow)
	if strings.HasSuffix(a.aor, "@example.test") && a.flow.ID != 0 {
		s.w.auth.Bind(a.flow, a.aor, farFuture())
	}
}

// receive takes what the proxy sent.
func (a *actor) receive(m *sip.Message) {
	if text := m.String(); a.seen[text] {
		return // a retransmission
	} else {
		a.seen[text] = true
	}
	a.s.note(a.name, "<", m)
	switch {
	case m.Method() == sip.ACK && m.IsRequest() && a.unacked[m.Via().Branch]:
		delete(a.unacked, m.Via().Branch)
		return
	case m.IsRequest():
		a.received(m)
	case m.Method() == sip.INVITE && m.Status() > 299:
		a.acknowledge(m)
	case m.Status() > 100 && m.Method() == sip.INVITE:
		a.answered(m)
	}
	a.inbox = append(a.inbox, m)
}

func (a *actor) received(m *sip.Message) {
	a.requests[string(m.Method())] = m
	switch m.Method() {
	case sip.CANCEL:
		a.respond(m, 200, nil)
		return
	case sip.ACK:
		return
	case sip.INVITE, sip.SUBSCRIBE:
		if m.ToTag() == "" {
			a.dialog = uaDialog{
				callID: m.CallID(), remote: header(m, sip.HFrom), local: header(m, sip.HTo) + ";tag=" + a.tag(),
				routes: slices.Collect(m.Values(sip.HRecordRoute)), target: contactOf(m), seq: 100,
			}
		}
	}
	a.request = m
}

// answered is a response to an INVITE of ours that makes a dialog. The first 2xx's dialog
// stays.
func (a *actor) answered(m *sip.Message) {
	if m.Status() < 300 && m.ToTag() != "" && a.dialog.target == "" {
		routes := slices.Collect(m.Values(sip.HRecordRoute))
		slices.Reverse(routes)
		a.dialog = uaDialog{
			callID: m.CallID(), local: header(m, sip.HFrom), remote: header(m, sip.HTo),
			routes: routes, seq: int(m.CSeq().Seq),
		}
	}
	if m.Status() >= 200 && strings.Contains(a.dialog.remote, m.ToTag()) {
		a.dialog.target = contactOf(m)
	}
}

// acknowledge is RFC 3261 §17.1.1.3.
func (a *actor) acknowledge(m *sip.Message) {
	invite := a.sent["INVITE"]
	ack := sip.NewRequest(sip.ACK, invite.RequestURI())
	ack.PushVia(*invite.Via())
	for _, id := range [...]sip.HeaderID{sip.HRoute, sip.HFrom, sip.HCallID} {
		for value := range invite.Lines(id) {
			ack.Append(id, value)
		}
	}
	ack.Append(sip.HTo, header(m, sip.HTo))
	ack.Append(sip.HCSeq, strconv.Itoa(int(m.CSeq().Seq))+" ACK")
	a.deliver(ack)
}

// send is a line "alice > ...": a status with the method of the request it answers, or a
// method with the Request-URI; without one it is sent within the dialog.
func (a *actor) send(words, headers []string) {
	if status, err := strconv.Atoi(words[0]); err == nil {
		request := a.request
		if len(words) > 1 {
			request = a.requests[words[1]]
		}
		if request == nil {
			a.s.fail("%s has nothing to answer", a.name)
		}
		a.respond(request, status, headers)
		return
	}
	method := words[0]
	switch {
	case method == "CANCEL":
		a.cancel(headers)
	case len(words) > 1:
		a.dialog = uaDialog{}
		a.newRequest(method, words[1], headers)
	default:
		a.inDialog(method, headers)
	}
}

func (a *actor) respond(request *sip.Message, status int, headers []string) {
	m := sip.NewResponse(request, status, "", a.tag())
	if status > 100 && status < 300 {
		for rr := range request.Lines(sip.HRecordRoute) {
			m.Append(sip.HRecordRoute, rr)
		}
		if request.Method() == sip.INVITE {
			m.Append(sip.HContact, "<"+a.contact+">")
		}
	}
	addHeaders(m, headers)
	if status > 299 && request.Method() == sip.INVITE {
		a.unacked[request.Via().Branch] = true
	}
	a.deliver(m)
}

func (a *actor) tag() string { return "of-" + a.name }

func (a *actor) newRequest(method, uri string, headers []string) {
	a.n++
	m := sip.NewRequest(sip.Method(method), uri)
	m.SetMaxForwards(70)
	m.Append(sip.HFrom, fmt.Sprintf("<sip:%s>;tag=from-%s-%d", a.aor, a.name, a.n))
	m.Append(sip.HTo, "<"+strings.SplitN(uri, ";", 2)[0]+">")
	m.Append(sip.HCallID, fmt.Sprintf("call-%s-%d", a.name, a.n))
	m.Append(sip.HCSeq, "1 "+method)
	m.Append(sip.HContact, "<"+a.contact+">")
	addHeaders(m, headers)
	a.transmit(m)
}

// inDialog is RFC 3261 §12.2.1.1.
func (a *actor) inDialog(method string, headers []string) {
	d := &a.dialog
	if d.target == "" {
		a.s.fail("%s is in no dialog", a.name)
	}
	if method != "ACK" {
		d.seq++
	}
	target, routes, headers := a.wayOf(d, headers)
	m := sip.NewRequest(sip.Method(method), target)
	m.SetMaxForwards(70)
	for _, route := range routes {
		m.Append(sip.HRoute, route)
	}
	m.Append(sip.HFrom, d.local)
	m.Append(sip.HTo, d.remote)
	m.Append(sip.HCallID, d.callID)
	m.Append(sip.HCSeq, strconv.Itoa(d.seq)+" "+method)
	m.Append(sip.HContact, "<"+a.contact+">")
	addHeaders(m, headers)
	a.transmit(m)
}

// wayOf returns Request-URI and Routes of a request within a dialog. Of the lines below it,
// "strict" has it sent as by a strict router (RFC 2543), "alias NAME" calls us so in the
// Routes.
func (a *actor) wayOf(d *uaDialog, lines []string) (target string, routes, headers []string) {
	target, routes = d.target, slices.Clone(d.routes)
	for _, line := range lines {
		if line == "strict" {
			target = strings.Trim(routes[0], "<>")
			routes = append(routes[1:], "<"+d.target+">")
		} else if alias, ok := strings.CutPrefix(line, "alias "); ok {
			for i := range routes {
				routes[i] = strings.Replace(routes[i], "@198.51.100.1", "@"+alias, 1)
			}
		} else {
			headers = append(headers, line)
		}
	}
	return target, routes, headers
}

// transmit sends a request with a Via of its own.
func (a *actor) transmit(m *sip.Message) {
	a.n++
	via := sip.Via{Transport: a.flow.Transport.String(), Host: a.name + ".invalid", Branch: fmt.Sprintf("z9hG4bK-%s-%d", a.name, a.n), RPort: -1}
	if !a.flow.Transport.WebSocket() {
		via.Host, via.Port = a.flow.Remote.Addr().String(), a.flow.Remote.Port()
	}
	m.PushVia(via)
	if m.Method() != sip.ACK {
		a.sent[string(m.Method())] = m
	}
	a.deliver(m)
}

func (a *actor) cancel(headers []string) {
	invite := a.sent["INVITE"]
	m := sip.NewRequest(sip.CANCEL, invite.RequestURI())
	m.PushVia(*invite.Via())
	for _, id := range [...]sip.HeaderID{sip.HRoute, sip.HFrom, sip.HTo, sip.HCallID} {
		for value := range invite.Lines(id) {
			m.Append(id, value)
		}
	}
	m.Append(sip.HCSeq, strconv.Itoa(int(invite.CSeq().Seq))+" CANCEL")
	addHeaders(m, headers)
	a.deliver(m)
}

// deliver has a message arrive at the proxy.
func (a *actor) deliver(m *sip.Message) {
	a.s.note(a.name, ">", m)
	b := append([]byte(nil), m.Bytes()...)
	arrived, err := sip.Parse(b)
	if err != nil {
		a.s.fail("%v\n%s", err, b)
	}
	if arrived.IsRequest() {
		arrived.SetReceived(a.flow.Remote)
	}
	a.s.w.layer.Receive(a.flow, arrived)
}

// expect is a line "alice < ...": a status, or a method with the Request-URI, and below it
// header fields: "Name: text" is in one of its lines, "!Name: text" in none, "!Name" has none.
func (a *actor) expect(words, headers []string) {
	if len(a.inbox) == 0 {
		a.s.fail("nothing was sent to %s", a.name)
	}
	m := a.inbox[0]
	a.inbox = a.inbox[1:]
	first, _, _ := strings.Cut(m.String(), "\r\n")
	if m.IsRequest() {
		if words[0] != string(m.Method()) || len(words) > 1 && words[1] != m.RequestURI() {
			a.s.fail("%s was sent %q", a.name, first)
		}
	} else if words[0] != strconv.Itoa(m.Status()) || len(words) > 1 && words[1] != string(m.Method()) {
		a.s.fail("%s was sent %q", a.name, first)
	}
	for _, want := range headers {
		if want, absent := strings.CutPrefix(want, "!"); absent {
			if name, text, _ := strings.Cut(want, ": "); hasText(m, name, text) {
				a.s.fail("%q is in\n%s", want, m)
			}
		} else if name, text, _ := strings.Cut(want, ": "); !hasText(m, name, text) {
			a.s.fail("no %q in\n%s", want, m)
		}
	}
}

func hasText(m *sip.Message, name, text string) bool {
	for n, v := range m.Headers() {
		if strings.EqualFold(n, name) && strings.Contains(v, text) {
			return true
		}
	}
	return false
}

func (a *actor) close() { a.s.w.closeFlow(a.flow) }

// reconnect opens another connection and registers over it what was registered before.
func (a *actor) reconnect() {
	old := a.flow
	a.flow.ID += 50
	a.flow.Remote = netip.AddrPortFrom(a.flow.Remote.Addr(), a.flow.Remote.Port()+50)
	a.s.w.open(a.flow)
	if strings.HasSuffix(a.aor, "@example.test") {
		a.s.w.auth.Bind(a.flow, a.aor, farFuture())
	}
	for _, aor := range a.aors {
		a.s.w.rebind(aor, func(list []store.Binding) []store.Binding {
			for i := range list {
				if list[i].Flow == old {
					list[i].Flow = a.flow
				}
			}
			return list
		})
	}
}

// checkAcknowledged fails if a final response above 2xx to an INVITE got no ACK.
func (a *actor) checkAcknowledged() {
	if len(a.unacked) > 0 {
		a.s.fail("%s was never acknowledged", a.name)
	}
}

func header(m *sip.Message, id sip.HeaderID) string {
	v, _ := m.Get(id)
	return v
}

func contactOf(m *sip.Message) string {
	contacts, err := m.Contacts()
	if err != nil || len(contacts) == 0 {
		return ""
	}
	return contacts[0].URI
}

// addHeaders sets header fields; one that is there already is replaced, or with a "+" in
// front kept behind the new one.
func addHeaders(m *sip.Message, headers []string) {
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if front, ok := strings.CutPrefix(name, "+"); ok {
			m.Prepend(sip.LookupHeader(front), value)
			continue
		}
		if id := sip.LookupHeader(name); id != sip.HUnknown && m.Has(id) && id != sip.HVia {
			m.Remove(id)
		}
		m.AppendNamed(name, value)
	}
	m.Remove(sip.HContentLength)
	m.Append(sip.HContentLength, "0")
}
