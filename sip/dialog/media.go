package dialog

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/sipway/sipway/sip"
)

// offer keeps the SDP of the INVITE that begins the call.
func (c *Call) offer(by Side, m *sip.Message) {
	sdp := c.sdpOf(m)
	if sdp == nil {
		c.offerer = by.other() // it is to come in the 2xx
		return
	}
	c.offerer = by
	c.body(by, sdp)
}

// answer keeps the SDP of what answers an offer, or holds a late one.
func (c *Call) answer(by Side, m *sip.Message) {
	if sdp := c.sdpOf(m); sdp != nil {
		c.body(by, sdp)
	}
}

// offers are what the two sides ask for by a re-INVITE or UPDATE: nil for nothing, empty where the
// response may hold an offer.
type offers [2][]byte

// propose notes a re-INVITE or UPDATE, with its offer.
func (c *Call) propose(by Side, m *sip.Message) {
	if c.offered == nil {
		c.offered = new(offers) // most calls have none
	}
	if c.offered[by] = c.sdpOf(m); c.offered[by] == nil {
		c.offered[by] = []byte{}
	}
}

// withdraw forgets a side's offer, which was refused.
func (c *Call) withdraw(by Side) {
	if c.offered != nil {
		c.offered[by] = nil
	}
}

// agreed keeps the SDP of a re-INVITE or UPDATE of a side, and of the 2xx to it. Before that
// the offer counts for nothing: where it is refused, the session stays what it is (RFC 3261
// §14.1). A refresh without SDP changes nothing either (RFC 4028 §7.4).
func (c *Call) agreed(by Side, ok *sip.Message) {
	if c.offered == nil || c.offered[by] == nil {
		return // the 2xx was sent again
	}
	offer := c.offered[by]
	c.offered[by] = nil
	answer := c.sdpOf(ok)
	if len(offer) > 0 {
		c.offerer = by
		c.body(by, offer)
	} else if answer != nil {
		c.offerer = by.other()
	}
	if answer != nil {
		c.body(by.other(), answer)
	}
}

// body keeps the message's own bytes, until they are described in a moment.
func (c *Call) body(by Side, sdp []byte) {
	c.sdp[by] = sdp
	if !c.fresh {
		c.fresh = true
		c.shard.fresh = append(c.shard.fresh, c)
	}
}

const (
	typeSDP       = "application/sdp"
	typeMultipart = "multipart/"
	maxParts      = 8 // of a body that are looked at
)

// sdpOf returns the SDP of a message, nil where it has none or nobody wants to know.
func (c *Call) sdpOf(m *sip.Message) []byte {
	body := m.Body()
	if len(body) == 0 || c.table.Describe == nil {
		return nil
	}
	kind, _ := m.Get(sip.HContentType)
	switch {
	case hasPrefix(kind, typeSDP):
		return body
	case hasPrefix(kind, typeMultipart):
		return partWithSDP(kind, body)
	}
	return nil
}

// partWithSDP returns the SDP among the parts of a body (RFC 5621 §3.1), beside which there is
// the place of one who calls for help, or what a telephone network says of the call.
func partWithSDP(kind string, body []byte) []byte {
	_, params, err := mime.ParseMediaType(kind)
	if err != nil {
		return nil
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for range maxParts {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil
		}
		if hasPrefix(part.Header.Get("Content-Type"), typeSDP) {
			if sdp, err := io.ReadAll(part); err == nil && len(sdp) > 0 {
				return sdp
			}
		}
	}
	return nil
}

func hasPrefix(kind, prefix string) bool {
	return len(kind) >= len(prefix) && strings.EqualFold(kind[:len(prefix)], prefix)
}
