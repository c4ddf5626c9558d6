package transaction

import (
	"strconv"

	"github.com/sipway/sipway/sip"
)

// newAck makes the ACK of a non-2xx response to invite (RFC 3261 §17.1.1.3). To is that of
// the response; all else is the INVITE's.
func newAck(invite, response *sip.Message) *sip.Message {
	to, _ := response.Get(sip.HTo)
	return hopByHop(sip.ACK, invite, to)
}

// newCancel makes the CANCEL of invite (RFC 3261 §9.1), with a Reason unless it is "" (RFC
// 3326 §2).
func newCancel(invite *sip.Message, reason string) *sip.Message {
	to, _ := invite.Get(sip.HTo)
	m := hopByHop(sip.CANCEL, invite, to)
	if reason != "" {
		m.Append(sip.HReason, reason)
	}
	return m
}

// hopByHop makes a request that the next element takes for one about invite: with its
// Request-URI, topmost Via and no other, Route, From, Call-ID and CSeq number.
func hopByHop(method sip.Method, invite *sip.Message, to string) *sip.Message {
	m := sip.NewRequest(method, invite.RequestURI())
	for via := range invite.Values(sip.HVia) {
		m.Append(sip.HVia, via)
		break
	}
	for route := range invite.Lines(sip.HRoute) {
		m.Append(sip.HRoute, route)
	}
	m.SetMaxForwards(70)
	from, _ := invite.Get(sip.HFrom)
	m.Append(sip.HFrom, from)
	m.Append(sip.HTo, to)
	m.Append(sip.HCallID, invite.CallID())
	m.Append(sip.HCSeq, strconv.FormatUint(uint64(invite.CSeq().Seq), 10)+" "+string(method))
	m.Append(sip.HContentLength, "0")
	return m
}
