package limits

import (
	"hash/maphash"
	"net/netip"
	"sync"

	"github.com/sipway/sipway/sip"
)

// key names what is counted: a source, or a hash of something longer. Nothing has the zero.
type key [16]byte

// ways is how many records share a lock and compete for room: the one that was not used for
// longest makes room for a new one. What falls together is decided by a secret hash.
const ways = 8

// record is what is known of a key. Times are in nanoseconds of the limiter's clock.
type record struct {
	user     key // whom a flow belongs to
	used     int64
	requests bucket
	offences bucket
	until    int64 // banned until
	strikes  uint8 // bans until now
	kept     bool  // the ban was made by hand: it does not make room
}

type set struct {
	mu      sync.Mutex
	keys    [ways]key // beside each other, for they are all looked at
	records [ways]record
}

// table is a cache of records with a fixed size. Its memory has no pointers, and what was
// never used of it is no memory of the process.
type table struct {
	seed maphash.Seed
	sets []set
}

// newTable returns a table for about n records, a power of two.
func newTable(n int) table { return table{maphash.MakeSeed(), make([]set, n/ways)} }

// at locks the set of a key and returns the key's record, nil where there is none. The
// caller unlocks the set.
func (t *table) at(k key) (*set, *record) {
	s := &t.sets[maphash.Comparable(t.seed, k)&uint64(len(t.sets)-1)]
	s.mu.Lock()
	for i := range s.keys {
		if s.keys[i] == k {
			return s, &s.records[i]
		}
	}
	return s, nil
}

// use is at with a record that is made where there is none.
func (t *table) use(k key, now int64) (*set, *record) {
	s, r := t.at(k)
	if r == nil {
		i := s.oldest(now)
		r = &s.records[i]
		s.keys[i], *r = k, record{}
	}
	r.used = now
	return s, r
}

// oldest returns the record that is missed least: an unused one, else the one that was not
// used for longest; one that is banned only where all are, for a ban that could be washed out
// by a flood of made-up sources would be none.
func (s *set) oldest(now int64) (least int) {
	for i := range s.records {
		r, l := &s.records[i], &s.records[least]
		if s.keys[i] == (key{}) {
			return i
		}
		a, b := r.worth(now), l.worth(now)
		if a < b || a == b && r.used < l.used {
			least = i
		}
	}
	return least
}

func (r *record) worth(now int64) int {
	switch {
	case r.until <= now:
		return 0
	case !r.kept:
		return 1
	}
	return 2
}

// sourceKey names the source that an address belongs to.
func sourceKey(a netip.Addr) key {
	k := key(a.As16())
	if !a.Unmap().Is4() {
		clear(k[8:])
		k[15] = 1 // ::/64 is no zero
	}
	return k
}

// prefix is the source that a key names.
func (k key) prefix() netip.Prefix {
	a := netip.AddrFrom16(k)
	if a.Is4In6() {
		return netip.PrefixFrom(a.Unmap(), 32)
	}
	return netip.PrefixFrom(a, 64).Masked()
}

// flowKey names a flow: its incarnation, or over UDP its far end.
func flowKey(f sip.Flow) key {
	k := key{}
	if f.ID != 0 {
		for i := range 8 {
			k[i] = byte(f.ID >> (8 * i))
		}
		k[15] = 1 // so that it is no hash's zero
		return k
	}
	return key(f.Remote.Addr().As16()).with(uint64(f.Remote.Port()) + 1)
}

// with mixes a number into a key; the table's hash keeps what is alike apart.
func (k key) with(n uint64) key {
	for i := range 8 {
		k[i] ^= byte(n >> (8 * i))
	}
	return k
}

// userKey names a user.
func (l *Limiter) userKey(user string) key {
	a, b := maphash.String(l.seeds[0], user), maphash.String(l.seeds[1], user)
	k := key{}
	return k.with(a).rotated().with(b)
}

func (k key) rotated() key {
	var r key
	copy(r[8:], k[:8])
	copy(r[:8], k[8:])
	return r
}

// pairKey names a user as guessed from a source.
func (l *Limiter) pairKey(source netip.Addr, user string) key {
	a := maphash.Comparable(l.seeds[2], sourceKey(source))
	return l.userKey(user).with(a)
}
