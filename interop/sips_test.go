package interop

import (
	"strconv"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// A page over wss and a desk phone over tls call one that has registered a sips contact: every
// hop of what goes between them is a secure one, and says so (RFC 5630 §5.3), whoever hangs up.
func TestSIPSCalls(t *testing.T) {
	s := startServer(t, settings{secure: true})
	bob := newDeskPhone(t, s, "tls", "bob")
	bob.register(t)
	callers := make(map[string]phone)
	for library, user := range map[string]string{jsSIP: "alice", sipJS: "dave"} {
		p := openPage(t, s, library, user)
		p.account.Scheme = "sips"
		callers[library+" over wss"] = p
	}
	carol := newDeskPhone(t, s, "tls", "carol")
	callers["desk phone over tls"] = carol
	for name, from := range callers {
		t.Run(name, func(t *testing.T) {
			from.register(t)
			for _, bobHangsUp := range []bool{false, true} {
				a, b := ring(t, from, bob)
				from.inbox().await(t, "progress", a)
				bob.answer(t, b)
				from.inbox().await(t, "established", a)
				bob.box.await(t, "established", b)
				if bobHangsUp {
					release(t, bob, b, from, a)
				} else {
					release(t, from, a, bob, b)
				}
			}
		})
	}
	if got, want := outline(bob.messages()), strings.Repeat("INVITE ACK BYE INVITE ACK ", len(callers)); got != strings.TrimSpace(want) {
		t.Errorf("bob heard %s", got)
	}
	if got := outline(carol.messages()); got != "180 200 180 200 BYE" {
		t.Errorf("carol heard %s", got)
	}
	for _, p := range []*deskPhone{bob, carol} {
		for _, m := range p.messages() {
			checkSecure(t, p.name, m, 2)
		}
	}
}

// checkSecure fails the test where a message of a call to a sips URI does not keep to secure ways,
// over so many hops to whoever is called.
func checkSecure(t *testing.T, who string, m message, hops int) {
	t.Helper()
	bad := func(what, value string) { t.Errorf("%s: %s %s in\n%s", who, what, value, m.String()) }
	vias := 0
	for _, h := range m.GetHeaders("Via") {
		vias++
		if via := h.(*sip.ViaHeader); via.Transport != "TLS" && via.Transport != "WSS" {
			bad("Via", via.Value())
		}
	}
	req, isRequest := m.(*sip.Request)
	if isRequest && (vias != hops || req.Recipient.Scheme != "sips") {
		bad("Request-URI or Vias", req.Recipient.String())
	}
	routes := 0
	for _, h := range m.GetHeaders("Record-Route") {
		for value := range strings.SplitSeq(h.Value(), ",") {
			routes++
			// RFC 3261 §16.6 step 4, RFC 5630 §5.3; what has a user part, a token, is ours
			value = strings.TrimSpace(value)
			if !strings.HasPrefix(value, "<sips:") || strings.Contains(value, "@") && strings.Contains(value, "transport=tls") {
				bad("Record-Route", value)
			}
		}
	}
	switch res, _ := m.(*sip.Response); {
	case isRequest && req.IsInvite(), res != nil && (res.StatusCode == 180 || res.StatusCode == 200):
		if routes != hops {
			bad("Record-Route", "is not there "+strconv.Itoa(hops)+" times")
		}
	}
	if res, ok := m.(*sip.Response); ok && res.StatusCode == 200 && res.Contact().Address.Scheme != "sips" {
		bad("Contact", res.Contact().Value())
	}
}

// outline returns methods and statuses but 100, in order.
func outline(messages []message) string {
	var all []string
	for _, m := range messages {
		switch m := m.(type) {
		case *sip.Request:
			all = append(all, m.Method.String())
		case *sip.Response:
			if m.StatusCode != 100 {
				all = append(all, strconv.Itoa(m.StatusCode))
			}
		}
	}
	return strings.Join(all, " ")
}

// A sips request that could go or came without TLS is refused; a sip request to a sips contact
// arrives as one, over TLS alone.
func TestSIPSRefused(t *testing.T) {
	s := startServer(t, settings{secure: true})
	alice, bob := newDeskPhone(t, s, "tls", "alice"), newDeskPhone(t, s, "tls", "bob")
	carol, dave := newDeskPhone(t, s, "udp", "carol"), newDeskPhone(t, s, "tcp", "dave")
	page := openPage(t, s, jsSIP, "erin")
	page.account.Server = "ws://" + s.ws + "/"
	for _, p := range []phone{alice, bob, carol, dave, page} {
		p.register(t)
	}
	for _, callee := range []phone{carol, dave, page} {
		t.Run(callee.inbox().owner+" is called", func(t *testing.T) {
			fails(t, alice, callee.user(), 480)
			heard := alice.messages()
			if w := heard[len(heard)-1].GetHeader("Warning"); w == nil || !strings.HasPrefix(w.Value(), "380 ") || !strings.HasSuffix(w.Value(), `"SIPS Not Allowed"`) {
				t.Errorf("Warning %v", w)
			}
		})
	}
	t.Run("sip to a sips contact", func(t *testing.T) {
		c, b := connect(t, carol, bob)
		release(t, bob, b, carol, c)
		c, b = connect(t, carol, bob)
		release(t, carol, c, bob, b)
		for _, m := range bob.messages() {
			req := m.(*sip.Request)
			if via := req.Via(); req.Recipient.Scheme != "sip" || via.Transport != "TLS" {
				t.Errorf("over %s came\n%s", via.Transport, req)
			}
		}
	})
	for _, caller := range []*deskPhone{carol, dave} {
		t.Run(caller.box.owner+" calls", func(t *testing.T) {
			caller.domain.Scheme = "sips"
			fails(t, caller, "bob", 400)
		})
	}
	t.Run("page over ws calls", func(t *testing.T) {
		page.reload(t)
		page.account.Scheme = "sips"
		page.register(t)
		fails(t, page, "bob", 400)
	})
	t.Run("no TLS", func(t *testing.T) {
		s := startServer(t, settings{})
		dave := newDeskPhone(t, s, "tcp", "dave")
		dave.register(t)
		dave.domain.Scheme = "sips"
		fails(t, dave, "bob", 416)
	})
}
