package interop

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// told waits until the page was told something of its user's registrations in which all of
// the texts stand.
func (p *page) told(t *testing.T, texts ...string) {
	t.Helper()
	for {
		body := p.box.await(t, "reginfo", 0).Body
		missing := 0
		for _, text := range texts {
			if !strings.Contains(body, text) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
	}
}

// A page subscribes to its user's registrations (RFC 3680) and hears how another tab comes,
// goes without a word, comes back and says goodbye.
func TestWebRegistrationEvents(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) {
			s := startServer(t, settings{})
			watcher, other := openTab(t, s, library, "alice", "-1"), openTab(t, s, jsSIP, "alice", "-2")
			watcher.register(t)
			watcher.invoke(t, nil, "watch")
			watcher.told(t, `state="full"`, `state="active" event="registered"`)
			other.register(t)
			watcher.told(t, `version="1" state="partial"`, `event="registered"`, `<gr:pub-gruu uri="sip:alice@`+domain+`;gr=urn:uuid:`)
			other.reload(t)
			watcher.told(t, `version="2"`, `state="terminated" event="deactivated"`)
			other.register(t)
			watcher.told(t, `version="3"`, `event="registered"`)
			other.unregister(t)
			watcher.told(t, `version="4"`, `state="terminated" event="unregistered"`)
		})
	}
}

// Bob's connection breaks in a call, and his page connects anew: what the other side says in
// the dialog reaches him there.
func TestWebDialogOutlivesConnection(t *testing.T) {
	for _, library := range []string{jsSIP, sipJS} {
		t.Run(library, func(t *testing.T) {
			s := startServer(t, settings{})
			alice, network := openPage(t, s, library, "alice"), startRelay(t, s.ws)
			bob := openPage(t, s, jsSIP, "bob")
			bob.account.Server = "ws://" + network.addr + "/"
			alice.register(t)
			bob.register(t)
			in, out := connect(t, bob, alice)
			network.cut()
			bob.box.await(t, "registered", 0)
			hold(t, alice, out, bob, in) // a re-INVITE, which JsSIP would not survive if it failed
			release(t, alice, out, bob, in)
		})
	}
}

// notified takes a NOTIFY of registrations.
func (p *deskPhone) notified(req *sip.Request, tx sip.ServerTransaction) {
	tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
	state := req.GetHeader("Subscription-State")
	p.box.post(event{Kind: "reginfo", Cause: state.Value(), Body: string(req.Body())})
}

// subscribe subscribes to the user's own registrations, or within the dialog of the request
// and response before.
func (p *deskPhone) subscribe(t *testing.T, expires int, before *sip.Request, dialog *sip.Response) (*sip.Request, *sip.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	target := p.domain
	target.User = p.name
	if dialog != nil {
		target = dialog.Contact().Address
	}
	req := p.request(sip.SUBSCRIBE, target)
	if dialog != nil {
		req.AppendHeader(sip.HeaderClone(dialog.From()))
		req.AppendHeader(sip.HeaderClone(dialog.To()))
		req.AppendHeader(sip.HeaderClone(dialog.CallID()))
		req.AppendHeader(&sip.CSeqHeader{SeqNo: before.CSeq().SeqNo + 5, MethodName: sip.SUBSCRIBE})
	}
	req.AppendHeader(sip.HeaderClone(&p.dialog.ContactHDR))
	req.AppendHeader(sip.NewHeader("Event", "reg"))
	req.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(expires)))
	res, err := p.client.Do(ctx, req)
	if err == nil && dialog == nil && res.StatusCode == sip.StatusUnauthorized {
		res, err = p.client.DoDigestAuth(ctx, req, res, p.credentials())
	}
	if err != nil || res.StatusCode != sip.StatusOK {
		t.Fatalf("SUBSCRIBE: %v %v", res, err)
	}
	return req, res
}

// A desk phone subscribes with its password, refreshes in the dialog and takes it back there.
func TestDeskPhoneRegistrationEvents(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			s := startServer(t, settings{})
			watcher, other := newDeskPhone(t, s, transport, "alice"), newDeskPhone(t, s, "udp", "alice")
			req, res := watcher.subscribe(t, 600, nil, nil)
			want := func(state string, texts ...string) {
				t.Helper()
				e := watcher.box.await(t, "reginfo", 0)
				for _, text := range texts {
					if !strings.Contains(e.Body, text) {
						t.Errorf("no %s in\n%s", text, e.Body)
					}
				}
				if !strings.HasPrefix(e.Cause, state) {
					t.Errorf("state %s, want %s", e.Cause, state)
				}
			}
			want("active;expires=", `version="0" state="full"`, `state="init"`)
			other.register(t)
			want("active;expires=", `version="1" state="partial"`, `event="registered"`)
			req, res = watcher.subscribe(t, 700, req, res)
			want("active;expires=", `version="2" state="full"`, `state="active"`)
			watcher.subscribe(t, 0, req, res)
			want("terminated;reason=timeout", `version="3" state="full"`)
		})
	}
}
