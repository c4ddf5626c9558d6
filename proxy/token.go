package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"

	"github.com/sipway/sipway/sip"
)

// tokenCoder makes and reads flow tokens (RFC 5626 §5.2): the user part of the URIs that
// we put into Record-Route. A token names the flow to one side of a dialog, and is signed,
// so that nobody can have us send to an address of his choice.
type tokenCoder struct {
	macs *sync.Pool // of hash.Hash
}

// A token is the transport, then the flow's incarnation where it has one or else its two
// addresses, then the first macSize bytes of the HMAC over that, in base64url. 80 bits are
// what RFC 5626 §5.2 proposes.
const macSize = 10

var tokenEncoding = base64.RawURLEncoding

func newTokenCoder(key []byte) tokenCoder {
	return tokenCoder{&sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// encode appends the flow's token to b.
func (c tokenCoder) encode(b []byte, f sip.Flow) []byte {
	var buf [128]byte
	raw := append(buf[:0], byte(f.Transport))
	if f.ID != 0 {
		raw = binary.BigEndian.AppendUint64(raw, f.ID)
	} else {
		raw = appendAddrPort(raw, f.Local)
		raw = appendAddrPort(raw, f.Remote)
	}
	return tokenEncoding.AppendEncode(b, c.sign(raw, raw))
}

// decode returns the flow that a token names. Of a connection it knows nothing but the
// incarnation.
func (c tokenCoder) decode(token string) (sip.Flow, bool) {
	var buf [128]byte
	if len(token) > tokenEncoding.EncodedLen(len(buf)-sha256.Size) {
		return sip.Flow{}, false
	}
	raw, err := tokenEncoding.AppendDecode(buf[:0], []byte(token))
	if err != nil || len(raw) < 1+8+macSize {
		return sip.Flow{}, false
	}
	payload, mac := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	var want [sha256.Size]byte
	if !hmac.Equal(c.sign(want[:0], payload)[:macSize], mac) {
		return sip.Flow{}, false
	}
	return decodeFlow(payload)
}

func decodeFlow(payload []byte) (f sip.Flow, ok bool) {
	f.Transport = sip.Transport(payload[0])
	payload = payload[1:]
	if f.Transport.Reliable() {
		if len(payload) != 8 {
			return f, false
		}
		f.ID = binary.BigEndian.Uint64(payload)
		return f, true
	}
	if f.Local, payload, ok = cutAddrPort(payload); !ok {
		return f, false
	}
	f.Remote, payload, ok = cutAddrPort(payload)
	return f, ok && len(payload) == 0
}

// sign appends the first macSize bytes of payload's HMAC to b.
func (c tokenCoder) sign(b, payload []byte) []byte {
	mac := c.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write(payload)
	n := len(b)
	b = mac.Sum(b)
	c.macs.Put(mac)
	return b[:n+macSize]
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	addr := a.Addr().Unmap()
	b = append(b, byte(addr.BitLen()/8))
	if addr.Is4() {
		four := addr.As4()
		b = append(b, four[:]...)
	} else if addr.Is6() {
		sixteen := addr.As16()
		b = append(b, sixteen[:]...)
	}
	return binary.BigEndian.AppendUint16(b, a.Port())
}

func cutAddrPort(b []byte) (a netip.AddrPort, rest []byte, ok bool) {
	if len(b) < 1 {
		return a, nil, false
	}
	n := int(b[0])
	if b = b[1:]; len(b) < n+2 {
		return a, nil, false
	}
	addr, _ := netip.AddrFromSlice(b[:n]) // the zero Addr for n == 0
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[n:])), b[n+2:], true
}
