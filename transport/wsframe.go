package transport

import (
	"encoding/binary"
	"math"
)

// The first byte of a frame (RFC 6455 §5.2): that it is the last of its message, and what
// it is. The second byte's highest bit says that it is masked.
const (
	final    = 0x80
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
	masked   = 0x80
)

// maxControl is the largest payload of a ping, pong or close (RFC 6455 §5.5).
const maxControl = 125

// appendFrame appends a whole message in one frame. A server doesn't mask (RFC 6455 §5.1).
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, final|opcode)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// maskSize is the length of a frame's masking key.
const maskSize = 4

// unmask fills dst from the masked bytes of src (RFC 6455 §5.3), eight at a time.
func unmask(dst, src, key []byte) {
	word := uint64(binary.LittleEndian.Uint32(key))
	word |= word << 32
	n := len(dst)
	i := 0
	for ; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:])^word)
	}
	for ; i < n; i++ {
		dst[i] = src[i] ^ key[i%maskSize]
	}
}
