package proxy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"

	"github.com/sipway/sipway/sip"
)

// route is what a flow token says: the flow to one side of a dialog, and whose it is.
type route struct {
	flow  sip.Flow
	owner owner
}

// owner is a client of ours, as the token of its flow names it, so that the dialog outlives
// the flow: what is for it takes the flow over which the same client has registered since.
// The zero value is nobody who is known.
type owner struct {
	aor      string
	instance uint32 // hash of the AOR and of what tells its clients apart
}

// tokenCoder makes and reads flow tokens (RFC 5626 §5.2): the user part of the URIs that
// we put into Record-Route. A token is signed, so that nobody can have us send to an address
// of his choice, and encrypted, so that neither side reads the other's name or address in
// it.
type tokenCoder struct {
	signing, sealing cipher.Block

	domain  string     // "@" and the domain that is left out of AORs
	signers *sync.Pool // of *signer
}

// signer is room to work in, so that a token costs no allocation.
type signer struct {
	text [maxToken]byte
	raw  [maxToken]byte
	mac  [aes.BlockSize]byte

	count, stream [aes.BlockSize]byte
}

// maxToken is more than the longest token has: that of a UDP flow over IPv6 with the longest
// AOR, 163 bytes before they are encoded. Without its AOR goes a longer one.
const (
	maxToken = 224
	maxAOR   = 100
)

// A token is the first macSize bytes of a MAC, and the text that this is made over: the
// transport, the flow's incarnation where it has one or else its two addresses, and of an
// owner the instance and the AOR. All is in base64url. 80 bits are what RFC 5626 §5.2
// proposes.
const macSize = 10

var tokenEncoding = base64.RawURLEncoding

// newTokenCoder returns a coder. The key may have any length; those of the ciphers are made
// of it. AORs of the domain make shorter tokens.
func newTokenCoder(key []byte, domain string) tokenCoder {
	return tokenCoder{
		signing: newCipher("sipway flow token ", key),
		sealing: newCipher("sipway flow token seal ", key),
		domain:  "@" + domain,
		signers: &sync.Pool{New: func() any { return new(signer) }},
	}
}

func newCipher(purpose string, key []byte) cipher.Block {
	sum := sha256.Sum256(append([]byte(purpose), key...))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		panic(err) // of a key of 32 bytes there is none
	}
	return block
}

// encode appends the route's token to b.
func (c tokenCoder) encode(b []byte, r route) []byte {
	s := c.signers.Get().(*signer)
	defer c.signers.Put(s)
	raw := append(s.raw[:macSize], byte(r.flow.Transport))
	if r.flow.ID != 0 {
		raw = binary.BigEndian.AppendUint64(raw, r.flow.ID)
	} else {
		raw = appendAddrPort(raw, r.flow.Local)
		raw = appendAddrPort(raw, r.flow.Remote)
	}
	if aor := strings.TrimSuffix(r.owner.aor, c.domain); aor != "" && len(aor) <= maxAOR {
		raw = binary.BigEndian.AppendUint32(raw, r.owner.instance)
		raw = append(raw, aor...)
	}
	copy(raw, s.sign(c.signing, raw[macSize:]))
	s.seal(c.sealing, raw[:macSize], raw[macSize:])
	return tokenEncoding.AppendEncode(b, raw)
}

// decode returns the flow that a token names, of a connection its incarnation alone. The bytes
// of its owner, if it names one, are appended to room: they are needed rarely, and read by
// ownerOf then.
func (c tokenCoder) decode(token string, room []byte) (f sip.Flow, named []byte, ok bool) {
	s := c.signers.Get().(*signer)
	defer c.signers.Put(s)
	f, rest, ok := c.open(s, token)
	if !ok {
		return f, nil, false
	}
	return f, append(room, rest...), true
}

// ownerOf returns the owner with the bytes that decode returned.
func (c tokenCoder) ownerOf(named []byte) owner {
	if len(named) <= 4 {
		return owner{}
	}
	instance, aor := binary.BigEndian.Uint32(named), named[4:]
	if bytes.IndexByte(aor, '@') < 0 {
		aor = append(aor, c.domain...)
	}
	return owner{string(aor), instance}
}

// open verifies a token and returns its flow, and the bytes that name its owner, in s.
func (c tokenCoder) open(s *signer, token string) (f sip.Flow, rest []byte, ok bool) {
	if len(token) > maxToken {
		return f, nil, false
	}
	raw, err := tokenEncoding.AppendDecode(s.raw[:0], append(s.text[:0], token...))
	if err != nil || len(raw) < macSize+1+8 {
		return f, nil, false
	}
	mac, text := raw[:macSize], raw[macSize:]
	s.seal(c.sealing, mac, text)
	if !hmac.Equal(s.sign(c.signing, text), mac) {
		return f, nil, false
	}
	f, rest, ok = cutFlow(text)
	return f, rest, ok && (len(rest) == 0 || len(rest) > 4)
}

// owner returns the owner of a flow that is known by its AOR and by what tells the clients of
// that AOR apart. The hash is the same in every life of the process.
func (c tokenCoder) owner(aor, id string) owner {
	s := c.signers.Get().(*signer)
	defer c.signers.Put(s)
	// No transport has this number, so no token is signed like it.
	text := append(append(append(append(s.raw[:0], 0xff), aor...), 0), id...)
	return owner{aor, binary.BigEndian.Uint32(s.sign(c.signing, text))}
}

// seal encrypts or decrypts a text in place. The key stream hangs on the text's MAC, so that
// no two texts have the same.
func (s *signer) seal(block cipher.Block, mac, text []byte) {
	clear(s.count[:])
	copy(s.count[:], mac)
	for len(text) > 0 {
		block.Encrypt(s.stream[:], s.count[:])
		text = text[subtle.XORBytes(text, text, s.stream[:]):]
		s.count[len(s.count)-1]++
	}
}

// sign returns the first macSize bytes of the text's MAC, until it is called again. It is a
// CBC-MAC, a tenth of an HMAC's cost: six are made for every call. As the first block begins
// with the text's length, no text is another's beginning, which is what a CBC-MAC needs to
// be secure for texts of several lengths.
func (s *signer) sign(block cipher.Block, text []byte) []byte {
	clear(s.mac[:])
	binary.BigEndian.PutUint16(s.mac[:], uint16(len(text)))
	for at := 2; ; at = 0 {
		text = text[subtle.XORBytes(s.mac[at:], s.mac[at:], text):]
		block.Encrypt(s.mac[:], s.mac[:])
		if len(text) == 0 {
			return s.mac[:macSize]
		}
	}
}

// cutFlow reads the flow at the beginning of a token's text.
func cutFlow(text []byte) (f sip.Flow, rest []byte, ok bool) {
	f.Transport = sip.Transport(text[0])
	rest = text[1:]
	if f.Transport.Reliable() {
		if len(rest) < 8 {
			return f, nil, false
		}
		f.ID = binary.BigEndian.Uint64(rest)
		return f, rest[8:], true
	}
	if f.Local, rest, ok = cutAddrPort(rest); !ok {
		return f, nil, false
	}
	f.Remote, rest, ok = cutAddrPort(rest)
	return f, rest, ok
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
