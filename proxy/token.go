package proxy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/sipway/sipway/sip"
)

// tokenCoder makes and reads flow tokens (RFC 5626 §5.2): the user part of the URIs that
// we put into Record-Route. A token names the flow to one side of a dialog, and is signed,
// so that nobody can have us send to an address of his choice.
type tokenCoder struct {
	block   cipher.Block
	signers *sync.Pool // of *signer
}

// signer is room to work in, so that a token costs no allocation.
type signer struct {
	text [maxToken]byte
	raw  [maxToken]byte
	mac  [aes.BlockSize]byte
}

// maxToken is more than the longest token has: that of a UDP flow over IPv6, 48 bytes
// before they are encoded.
const maxToken = 96

// A token is the transport, then the flow's incarnation where it has one or else its two
// addresses, then the first macSize bytes of the MAC over that, in base64url. 80 bits are
// what RFC 5626 §5.2 proposes.
const macSize = 10

var tokenEncoding = base64.RawURLEncoding

// newTokenCoder returns a coder. The key may have any length; that of the cipher is made
// of it.
func newTokenCoder(key []byte) tokenCoder {
	sum := sha256.Sum256(append([]byte("sipway flow token "), key...))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		panic(err) // of a key of 32 bytes there is none
	}
	return tokenCoder{block, &sync.Pool{New: func() any { return new(signer) }}}
}

// encode appends the flow's token to b.
func (c tokenCoder) encode(b []byte, f sip.Flow) []byte {
	s := c.signers.Get().(*signer)
	defer c.signers.Put(s)
	raw := append(s.raw[:0], byte(f.Transport))
	if f.ID != 0 {
		raw = binary.BigEndian.AppendUint64(raw, f.ID)
	} else {
		raw = appendAddrPort(raw, f.Local)
		raw = appendAddrPort(raw, f.Remote)
	}
	return tokenEncoding.AppendEncode(b, append(raw, s.sign(c.block, raw)...))
}

// decode returns the flow that a token names. Of a connection it knows nothing but the
// incarnation.
func (c tokenCoder) decode(token string) (sip.Flow, bool) {
	if len(token) > maxToken {
		return sip.Flow{}, false
	}
	s := c.signers.Get().(*signer)
	defer c.signers.Put(s)
	raw, err := tokenEncoding.AppendDecode(s.raw[:0], append(s.text[:0], token...))
	if err != nil || len(raw) < 1+8+macSize {
		return sip.Flow{}, false
	}
	payload, mac := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	if !hmac.Equal(s.sign(c.block, payload), mac) {
		return sip.Flow{}, false
	}
	return decodeFlow(payload)
}

// sign returns the first macSize bytes of the payload's MAC, until it is called again. It
// is a CBC-MAC, a tenth of an HMAC's cost: six are made for every call. As the first block
// begins with the payload's length, no payload is another's beginning, which is what a
// CBC-MAC needs to be secure for messages of several lengths.
func (s *signer) sign(block cipher.Block, payload []byte) []byte {
	clear(s.mac[:])
	s.mac[0] = byte(len(payload))
	at := 1
	for _, b := range payload {
		if at == len(s.mac) {
			block.Encrypt(s.mac[:], s.mac[:])
			at = 0
		}
		s.mac[at] ^= b
		at++
	}
	block.Encrypt(s.mac[:], s.mac[:])
	return s.mac[:macSize]
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
