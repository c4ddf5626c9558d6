package dialog

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/sipway/sipway/sip"
)

// The codec of a call is that of the last answer that was accepted, and what the two sides say
// is what they have agreed on (RFC 3261 §14, RFC 3264, RFC 4028 §7.4).
func TestCodec(t *testing.T) {
	multipart := func(sdp string) string {
		return "--x\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\r\n--x\r\ncontent-type: Application/SDP\r\nContent-Disposition: session\r\n\r\n" + sdp + "\r\n--x--\r\n"
	}
	type call struct {
		t     *testing.T
		calls *Calls
		r     Request
		leg   int
	}
	// request passes from a side, and its response after it; "-" has none.
	request := func(c *call, side Side, method, sdp string) Request {
		from, to, flow := "a", ";tag=b", aliceFlow
		if side == Callee {
			from, to, flow = "b", ";tag=a", bobFlow
		}
		return c.calls.Within(message(c.t, method+" sip:x@x.invalid SIP/2.0", "1", from, to, "", sdp), flow)
	}
	ok := func(c *call, method, sdp string) *sip.Message {
		m := message(c.t, okLine, "1", "a", ";tag=b", "", sdp)
		m.Set(sip.HCSeq, "1 "+method)
		return m
	}
	for _, row := range []struct {
		name, offer, answer   string
		then                  func(c *call)
		codec, caller, callee string
	}{
		{"offer and answer", "offer", "answer", func(*call) {}, "answer", "offer", "answer"},
		{"a late offer", "", "offer", func(c *call) { request(c, Caller, "ACK", "answer") }, "answer", "answer", "offer"},
		{"a reliable provisional response", "", "", func(*call) {}, "answer", "answer", "offer"},
		{"the caller refreshes without SDP", "offer", "answer", func(c *call) {
			request(c, Caller, "UPDATE", "").Response(-1, ok(c, "UPDATE", ""))
		}, "answer", "offer", "answer"},
		{"the callee refreshes without SDP", "offer", "answer", func(c *call) {
			request(c, Callee, "UPDATE", "").Response(-1, ok(c, "UPDATE", ""))
		}, "answer", "offer", "answer"},
		{"a re-INVITE with new SDP", "offer", "answer", func(c *call) {
			request(c, Callee, "INVITE", "offer2").Response(-1, ok(c, "INVITE", "answer2"))
		}, "answer2", "answer2", "offer2"},
		{"its 200 comes again", "offer", "answer", func(c *call) {
			r := request(c, Callee, "INVITE", "offer2")
			r.Response(-1, ok(c, "INVITE", "answer2"))
			r.Response(-1, ok(c, "INVITE", "answer2"))
		}, "answer2", "answer2", "offer2"},
		{"a re-INVITE without SDP", "offer", "answer", func(c *call) {
			request(c, Caller, "INVITE", "").Response(-1, ok(c, "INVITE", "offer2"))
			request(c, Caller, "ACK", "answer2")
		}, "answer2", "answer2", "offer2"},
		{"a re-INVITE that is refused", "offer", "answer", func(c *call) {
			request(c, Callee, "INVITE", "offer2").Failed(488, "")
		}, "answer", "offer", "answer"},
		{"a re-INVITE without SDP that is refused", "offer", "answer", func(c *call) {
			request(c, Caller, "INVITE", "").Failed(491, "")
		}, "answer", "offer", "answer"},
		{"two at once, one of which is refused", "offer", "answer", func(c *call) {
			one, other := request(c, Caller, "INVITE", "offer2"), request(c, Callee, "INVITE", "offer3")
			other.Failed(491, "")
			one.Response(-1, ok(c, "INVITE", "answer2"))
		}, "answer2", "offer2", "answer2"},
		{"SDP beside something else", multipart("offer"), multipart("answer"), func(*call) {}, "answer", "offer", "answer"},
		{"parts without SDP", "--x\r\n\r\ntext\r\n--x--\r\n", "answer", func(*call) {}, "answer", "", "answer"},
		{"parts without end", "--x\r\nContent-Type: application/sdp\r\n\r\noffer", "answer", func(*call) {}, "answer", "", "answer"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := &call{t: t, calls: New(Config{Describe: func(sdp []byte) Media { return Media{Codec: string(sdp), Summary: string(sdp)} }})}
			with := func(first, to, body string) *sip.Message {
				m := message(t, first, "1", "a", to, "", body)
				if strings.HasPrefix(body, "--x") {
					m.Set(sip.HContentType, `multipart/mixed; boundary="x"`)
				}
				return m
			}
			c.r = c.calls.Begin(with(inviteLine, "", row.offer), Party{Flow: aliceFlow}, "bob@example.test")
			c.leg = c.r.Sent("sip:b@x.invalid", Party{Flow: bobFlow})
			if row.answer == "" {
				c.r.Response(c.leg, with("SIP/2.0 183 Session Progress", ";tag=b", "offer"))
				request(c, Caller, "PRACK", "answer").Response(-1, ok(c, "PRACK", ""))
			}
			c.r.Response(c.leg, with(okLine, ";tag=b", row.answer))
			row.then(c)
			r := c.calls.Find("1")[0]
			if got := [3]string{r.Codec, r.Media[Caller].Summary, r.Media[Callee].Summary}; got != [3]string{row.codec, row.caller, row.callee} {
				t.Errorf("codec, caller and callee are %q", got)
			}
		})
	}
}

// What a call keeps has room for a thousand bytes in one piece of memory: a field more would take
// an eighth of that again.
func TestCallSize(t *testing.T) {
	const class, header = 1024, 8 // of Go's allocator
	if size := unsafe.Sizeof(Call{}); size > class-header {
		t.Errorf("%d bytes", size)
	}
}
