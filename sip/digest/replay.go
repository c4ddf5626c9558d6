package digest

import (
	"math/bits"
	"sync"
)

// replay remembers which nonce counts the nonces were used with (RFC 7616 §5.5). It is a table of
// fixed size in which a nonce has one place, found by its counter: a newer nonce takes the place
// of an older one, and the older one can't be used again. As counters go up by one, that happens
// only after as many nonces as there are places, and only a nonce that was used with the right
// password takes one. It is safe for concurrent use.
type replay struct {
	mask    uint32
	slots   []slot
	stripes [64]sync.Mutex // slots[i] is guarded by stripes[i%64]
}

// slot is what is known of one nonce. The last 64 counts are told apart, because requests sent
// at the same time over UDP or over two transports may arrive in any order; older ones count as
// used.
type slot struct {
	id   nonceID
	seen uint64 // bit i: nonce count top-i was used
	top  uint32 // highest nonce count used
}

// newReplay makes a table for at least n nonces.
func newReplay(n int) *replay {
	size := uint32(1) << bits.Len32(uint32(n-1))
	return &replay{mask: size - 1, slots: make([]slot, size)}
}

// use notes a use of the nonce with count nc and reports whether it is the first. The first use of
// a nonce may have any count: some clients go on counting over a new nonce.
func (r *replay) use(id nonceID, nc uint32) bool {
	i := uint32(id) & r.mask
	mu := &r.stripes[i%uint32(len(r.stripes))]
	mu.Lock()
	defer mu.Unlock()
	s := &r.slots[i]
	switch {
	case id < s.id:
		return false
	case id > s.id:
		*s = slot{id: id, seen: 1, top: nc}
		return true
	case nc > s.top:
		s.seen = s.seen<<(nc-s.top) | 1 // a shift by 64 or more leaves 0
		s.top = nc
		return true
	}
	bit := uint64(1) << (s.top - nc) // 0 if older
	if bit == 0 || s.seen&bit != 0 {
		return false
	}
	s.seen |= bit
	return true
}
