package transport

import (
	"encoding/binary"
	"net/netip"
)

// What of STUN a SIP server's UDP port must understand (RFC 5626 §8): a client that keeps a
// flow alive sends Binding requests, and takes silence, or another mapped address than
// before, for the flow's end.
const (
	stunHeader = 20 // type, length, cookie, transaction (RFC 5389 §6)
	stunCookie = 0x2112A442

	bindingRequest = 0x0001
	bindingSuccess = 0x0101
	bindingError   = 0x0111

	errorCode         = 0x0009 // RFC 5389 §15.6
	unknownAttributes = 0x000A // RFC 5389 §15.9
	xorMappedAddress  = 0x0020 // RFC 5389 §15.2

	// Attributes from here on may be ignored (RFC 5389 §15).
	comprehensionOptional = 0x8000

	// maxUnknown is how many attributes an error lists: the answer to a forged request must
	// not be worth the forging.
	maxUnknown = 8
)

// isSTUN recognises a STUN message by its first bits and its magic cookie (RFC 5389 §6).
func isSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0]>>6 == 0 && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// stunAnswer returns the response to a STUN message from an address, and nil to what gets
// none: anything but a well-formed Binding request (RFC 5389 §7.3). It has no SOFTWARE
// attribute (a SHOULD of §7.3.1.1), which would only make it larger than what it answers.
func stunAnswer(b []byte, from netip.AddrPort) []byte {
	size := int(binary.BigEndian.Uint16(b[2:]))
	if binary.BigEndian.Uint16(b) != bindingRequest || size%4 != 0 || len(b) != stunHeader+size {
		return nil
	}
	unknown, ok := unknownIn(b[stunHeader:])
	switch {
	case !ok:
		return nil
	case len(unknown) > 0: // RFC 5389 §7.3.1
		answer := beginSTUN(bindingError, b)
		answer = appendAttribute(answer, errorCode, append([]byte{0, 0, 4, 20}, "Unknown Attribute"...))
		return endSTUN(appendAttribute(answer, unknownAttributes, unknown))
	}
	return endSTUN(appendAttribute(beginSTUN(bindingSuccess, b), xorMappedAddress, xorMapped(b, from)))
}

// unknownIn returns the types of the attributes that had to be understood and are not. It is
// false where they don't fill b exactly.
func unknownIn(b []byte) (types []byte, ok bool) {
	for len(b) > 0 {
		// All is a multiple of 4 bytes, so that a type and a length are there.
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		size = 4 + (size+3)&^3
		if size > len(b) {
			return nil, false
		}
		if kind < comprehensionOptional && !knownAttribute(kind) && len(types) < 2*maxUnknown {
			types = binary.BigEndian.AppendUint16(types, kind)
		}
		b = b[size:]
	}
	return types, true
}

// knownAttribute reports whether RFC 5389 §15 defines an attribute that must be understood.
// Such are ignored: keepalives need none (RFC 5626 §8).
func knownAttribute(kind uint16) bool {
	switch kind {
	case 0x0001, 0x0006, 0x0008, errorCode, unknownAttributes, 0x0014, 0x0015, xorMappedAddress:
		return true // also MAPPED-ADDRESS, USERNAME, MESSAGE-INTEGRITY, REALM and NONCE
	}
	return false
}

// beginSTUN begins the response to a request; endSTUN fills in its length.
func beginSTUN(kind uint16, request []byte) []byte {
	b := make([]byte, 0, 64)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = append(b, 0, 0)
	return append(b, request[4:stunHeader]...)
}

func endSTUN(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
	return b
}

func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// xorMapped is the value of XOR-MAPPED-ADDRESS: the port is masked with the beginning of the
// cookie, the address with cookie and transaction, as they are in the request.
func xorMapped(request []byte, from netip.AddrPort) []byte {
	family := byte(1)
	if from.Addr().Is6() {
		family = 2
	}
	value := append([]byte{0, family}, 0, 0)
	binary.BigEndian.PutUint16(value[2:], from.Port()^stunCookie>>16)
	for i, octet := range from.Addr().AsSlice() {
		value = append(value, octet^request[4+i])
	}
	return value
}
