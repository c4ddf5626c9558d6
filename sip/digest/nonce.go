package digest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// nonceID is what a nonce says in clear: the second it was issued in, and below it a counter that
// makes it unique within the process. Later nonces have higher numbers.
type nonceID uint64

func (id nonceID) issued() int64 { return int64(id >> 32) }

const (
	idSize    = 8
	tagSize   = 16 // of the HMAC; a guess at a tag has to be made online
	nonceSize = idSize + tagSize
)

// nonceLen is the length of a nonce as sent. The size is a multiple of three, so that there is
// no padding and exactly one spelling.
var nonceLen = base64.RawURLEncoding.EncodedLen(nonceSize)

// minter makes and recognises nonces: base64url(id, HMAC-SHA-256(key, id | realm)).
// It is safe for concurrent use.
type minter struct {
	start   time.Time
	base    int64 // start in seconds since 1970
	counter atomic.Uint32
	macs    sync.Pool // of *mac
}

// mac is a reusable HMAC: making one costs more than using it.
type mac struct {
	hash hash.Hash
	in   []byte
	sum  [sha256.Size]byte
}

func newMinter(key []byte) *minter {
	start := time.Now()
	m := &minter{start: start, base: start.Unix()}
	m.counter.Store(rand.Uint32())
	m.macs.New = func() any { return &mac{hash: hmac.New(sha256.New, key)} }
	return m
}

// now returns the time in seconds since 1970. It follows the monotonic clock from the process's
// start, so that a clock set back cannot make new nonces older than used ones.
func (m *minter) now() int64 {
	return m.base + int64(time.Since(m.start)/time.Second)
}

func (m *minter) mint(realm string) string {
	id := nonceID(m.now())<<32 | nonceID(m.counter.Add(1))
	var raw [nonceSize]byte
	binary.BigEndian.PutUint64(raw[:], uint64(id))
	m.tag(raw[idSize:], id, realm)
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// open returns the id of a nonce that was minted for realm with the same key.
func (m *minter) open(nonce, realm string) (nonceID, bool) {
	if len(nonce) != nonceLen {
		return 0, false
	}
	var raw, text [2 * nonceSize]byte
	n, err := base64.RawURLEncoding.Decode(raw[:], text[:copy(text[:], nonce)])
	if err != nil || n != nonceSize {
		return 0, false
	}
	id := nonceID(binary.BigEndian.Uint64(raw[:]))
	var want [tagSize]byte
	m.tag(want[:], id, realm)
	return id, subtle.ConstantTimeCompare(want[:], raw[idSize:nonceSize]) == 1
}

func (m *minter) tag(dst []byte, id nonceID, realm string) {
	h := m.macs.Get().(*mac)
	h.in = binary.BigEndian.AppendUint64(h.in[:0], uint64(id))
	h.in = append(h.in, realm...)
	h.hash.Reset()
	h.hash.Write(h.in)
	copy(dst, h.hash.Sum(h.sum[:0]))
	m.macs.Put(h)
}
