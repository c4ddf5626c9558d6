package limits

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"

	"github.com/sipway/sipway/sip"
)

// key names what is counted: a source, or a hash of something longer.
type key [16]byte

// userHash names a user by a secret hash; 0 is nobody.
type userHash uint64

// ways is how many records share a lock and compete for room: the one that was not used for
// longest makes room for a new one. What falls together is decided by a secret hash.
const ways = 8

// record is what is known of a key. Times are in nanoseconds of the limiter's clock. It has a
// cache line, as what a look costs is the memory it waits for.
type record struct {
	key      key
	used     int64
	user     userHash // whom a flow belongs to
	requests bucket
	offences bucket
	until    int64 // banned until
	strikes  uint8 // bans until now
	kept     bool  // the ban was made by hand: it does not make room
}

// set has a line for its lock and the tags of its records, 0 for one that was never used.
type set struct {
	mu      sync.Mutex
	tags    [ways]uint32
	_       [24]byte
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
	s, tag := t.lock(k)
	return s, s.find(k, tag)
}

// use is at with a record that is made where there is none.
func (t *table) use(k key, now int64) (*set, *record) {
	s, tag := t.lock(k)
	r := s.find(k, tag)
	if r == nil {
		i := s.oldest(now)
		r = &s.records[i]
		s.tags[i], *r = tag, record{key: k}
	}
	r.used = now
	return s, r
}

// lock locks the set of a key, and returns the tag that the key has there.
func (t *table) lock(k key) (s *set, tag uint32) {
	hash := maphash.Comparable(t.seed, k)
	s = &t.sets[hash&uint64(len(t.sets)-1)]
	s.mu.Lock()
	return s, uint32(hash>>32) | 1
}

func (s *set) find(k key, tag uint32) *record {
	for i := range s.tags {
		if s.tags[i] == tag && s.records[i].key == k {
			return &s.records[i]
		}
	}
	return nil
}

// oldest returns the record that is missed least: an unused one, else the one that was not
// used for longest; one that is banned only where all are, for a ban that could be washed out
// by a flood of made-up sources would be none.
func (s *set) oldest(now int64) (least int) {
	for i := range s.records {
		r, l := &s.records[i], &s.records[least]
		if s.tags[i] == 0 {
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

// userOf names the user of an AOR.
func (l *Limiter) userOf(aor string) userHash { return userHash(maphash.String(l.seeds[0], aor) | 1) }

func (u userHash) key() key { return key{}.with(uint64(u)) }

// pairKey names a user as guessed from a source.
func (l *Limiter) pairKey(source netip.Addr, aor string) key {
	k := l.userOf(aor).key()
	binary.NativeEndian.PutUint64(k[8:], maphash.Comparable(l.seeds[1], sourceKey(source)))
	return k
}
