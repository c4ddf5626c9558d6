package transaction

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/sipway/sipway/sip"
)

// answers is what is left of the server transactions over UDP that are in Completed, where
// they stay for Timer J (RFC 3261 §17.2.2): what tells a retransmission of the request, and
// the response that answers it. Every REGISTER and every BYE leaves one behind for 64*T1, so
// that these outnumber all other transactions by far. So they are plain bytes, one behind
// the other in the order in which they end, with nothing in them for the collector to follow.
type answers struct {
	wait   time.Duration // Timer J
	slack  time.Duration // how much later the memory may be let go
	clock  *clock
	live   *counter
	shards [answerShards]answerShard
}

const (
	answerShards = 8

	// blockSize is what memory is taken in. A longer answer stays with its transaction.
	blockSize = 16 << 10
)

// answerShard is a queue of records in blocks, the oldest at first, and a hash table of them.
//
// A record's place is the number of its block and where it is there. As places only grow, a
// chain of the table ends where it comes to a record that has been let go, and nothing is to
// be done to a chain for that.
//
// Most look-ups are for a request that has not come before. So that they need not read the
// records of its chain, which are in nobody's cache, a bucket says besides the place of the
// newest one of which hashes there are any: a bit in sixteen for each.
type answerShard struct {
	mu      sync.Mutex
	buckets []bucket // a power of two of them
	n       int      // records
	blocks  [][]byte // filled up to their lengths
	oldest  uint64   // the number of blocks[0]; from 1
	first   int      // where the oldest record is in it
	timer   *time.Timer
	running bool
}

// bucket is the place of a chain's newest record, 0 for none, and above that the marks of the
// hashes in the chain. It has room for the places of some years at the full rate.
type bucket uint64

const markShift = 48

// markOf returns the mark of a hash, of bits that choose neither shard nor bucket.
func markOf(hash uint64) bucket { return 1 << (markShift + hash>>60) }

func (b bucket) place() uint64 { return uint64(b & (1<<markShift - 1)) }

// A record is its end on the layer's clock, the request's hash, the place of the next in its
// chain, its length and the key's, the flow of the response, and then key and response. The
// next changes when the table grows; all else is never written again.
const (
	endAt      = 0
	hashAt     = 8
	nextAt     = 16
	sizeAt     = 24
	keySizeAt  = 28
	flowAt     = 32
	recordHead = flowAt + 2*(16+2)
)

func newAnswers(wait time.Duration, c *clock, live *counter) *answers {
	a := &answers{wait: wait, slack: wait / 32, clock: c, live: live}
	for i := range a.shards {
		a.shards[i].oldest, a.shards[i].buckets = 1, make([]bucket, minBuckets)
	}
	return a
}

func (a *answers) shard(hash uint64) *answerShard { return &a.shards[hash%answerShards] }

// appendKey appends what a request is matched by where its branch identifies it (RFC 3261
// §17.2.3), and the address it came from. There is no NUL in a message.
func appendKey(b []byte, source netip.Addr, method sip.Method, branch, host string, port uint16) []byte {
	s := source.As16()
	b = append(b, s[:]...)
	b = binary.BigEndian.AppendUint16(b, port)
	b = append(append(b, method...), 0)
	b = append(append(b, branch...), 0)
	return append(b, host...)
}

// keep takes over the final response of a transaction, and returns its copy. False says that
// it can't, and the transaction goes on itself.
func (a *answers) keep(s *Server, response []byte) (kept []byte, ok bool) {
	id := &s.id
	if id.legacy != nil || !plain(s.flow.Remote.Addr()) || !plain(s.flow.Local.Addr()) || !plain(s.replyTo.Addr()) {
		return nil, false
	}
	var room [256]byte
	key := appendKey(room[:0], s.flow.Remote.Addr(), id.method, id.branch, id.host, id.port)
	size := recordHead + len(key) + len(response)
	if size > blockSize {
		return nil, false
	}
	hash := s.chain.hash
	shard := a.shard(hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	end := a.clock.now() + a.wait
	place, b := shard.room(size)
	binary.NativeEndian.PutUint64(b[endAt:], uint64(end))
	binary.NativeEndian.PutUint64(b[hashAt:], hash)
	binary.NativeEndian.PutUint32(b[keySizeAt:], uint32(len(key)))
	binary.NativeEndian.PutUint32(b[sizeAt:], uint32(size))
	putAddrPort(b[flowAt:], s.flow.Local)
	putAddrPort(b[flowAt+18:], s.replyTo)
	copy(b[recordHead:], key)
	kept = b[recordHead+len(key) : size : size]
	copy(kept, response)
	shard.file(place, b)
	if shard.n++; shard.n > len(shard.buckets) {
		shard.resize(2 * len(shard.buckets))
	}
	a.live.Add(1)
	a.run(shard, a.wait)
	return kept, true
}

// plain says that an address is no more than its bytes.
func plain(a netip.Addr) bool { return a.IsValid() && !a.Is4In6() && a.Zone() == "" }

func putAddrPort(b []byte, a netip.AddrPort) {
	addr := a.Addr().As16()
	copy(b, addr[:])
	binary.NativeEndian.PutUint16(b[16:], a.Port())
}

func addrPort(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.NativeEndian.Uint16(b[16:]))
}

// room returns the place of size more bytes.
func (s *answerShard) room(size int) (place uint64, b []byte) {
	last := len(s.blocks) - 1
	if last < 0 || len(s.blocks[last])+size > blockSize {
		s.blocks = append(s.blocks, make([]byte, 0, blockSize))
		last++
	}
	at := len(s.blocks[last])
	s.blocks[last] = s.blocks[last][:at+size]
	return (s.oldest+uint64(last))*blockSize + uint64(at), s.blocks[last][at:]
}

// file puts a record before its chain.
func (s *answerShard) file(place uint64, b []byte) {
	hash := binary.NativeEndian.Uint64(b[hashAt:])
	at := s.bucket(hash)
	next := at.place()
	binary.NativeEndian.PutUint64(b[nextAt:], next)
	marks := *at &^ (1<<markShift - 1)
	if next < s.gone() {
		marks = 0 // they are of records that have been let go
	}
	*at = marks | markOf(hash) | bucket(place)
}

// gone is the place before which all records have been let go.
func (s *answerShard) gone() uint64 { return s.oldest*blockSize + uint64(s.first) }

func (s *answerShard) bucket(hash uint64) *bucket {
	return &s.buckets[hash/answerShards&uint64(len(s.buckets)-1)]
}

// resize files all records anew, in n buckets.
func (s *answerShard) resize(n int) {
	s.buckets = make([]bucket, n)
	at := s.first
	for i, block := range s.blocks {
		for at < len(block) {
			place := (s.oldest+uint64(i))*blockSize + uint64(at)
			b := s.record(place)
			s.file(place, b)
			at += len(b)
		}
		at = 0
	}
}

// record returns what is at a place.
func (s *answerShard) record(place uint64) []byte {
	b := s.blocks[place/blockSize-s.oldest][place%blockSize:]
	return b[:binary.NativeEndian.Uint32(b[sizeAt:])]
}

// find returns the answer to a request that has had it, and where it goes. It is empty where
// there is nothing to be sent (RFC 4320 §4.2).
func (a *answers) find(r *request) (to sip.Flow, response []byte, ok bool) {
	if r.flow.ID != 0 || r.method == sip.INVITE {
		return to, nil, false
	}
	v := r.Via()
	s := a.shard(r.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	chain := *s.bucket(r.hash)
	if chain&markOf(r.hash) == 0 {
		return to, nil, false
	}
	var room [256]byte
	for place := chain.place(); place >= s.gone(); {
		b := s.record(place)
		place = binary.NativeEndian.Uint64(b[nextAt:])
		if binary.NativeEndian.Uint64(b[hashAt:]) != r.hash {
			continue
		}
		key := appendKey(room[:0], r.flow.Remote.Addr(), r.method, v.Branch, v.Host, v.Port)
		rest := b[recordHead:]
		if string(rest[:binary.NativeEndian.Uint32(b[keySizeAt:])]) != string(key) {
			continue
		}
		to = sip.Flow{Transport: sip.UDP, Local: addrPort(b[flowAt:]), Remote: addrPort(b[flowAt+18:])}
		ended := time.Duration(binary.NativeEndian.Uint64(b[endAt:])) <= a.clock.now()
		return to, rest[len(key):], !ended
	}
	return to, nil, false
}

// run sets the timer of a shard, unless it is set already.
func (a *answers) run(s *answerShard, wait time.Duration) {
	switch {
	case s.running:
		return
	case s.timer == nil:
		s.timer = time.AfterFunc(wait, func() { a.expire(s) })
	default:
		s.timer.Reset(wait)
	}
	s.running = true
}

// expire is Timer J of many. Nobody waits for it, so that it looks at them together; that
// nothing is found any more after its time is seen to by find.
func (a *answers) expire(s *answerShard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	if next, more := a.sweep(s); more {
		a.run(s, max(next-a.clock.now(), a.slack))
	}
}

// sweep lets go of what has ended. It returns when the next one ends, if there is one.
func (a *answers) sweep(s *answerShard) (next time.Duration, more bool) {
	next, more = a.drop(s)
	size := len(s.buckets)
	for size > minBuckets && s.n < size/8 {
		size /= 2
	}
	if size < len(s.buckets) {
		s.resize(size)
	}
	return next, more
}

func (a *answers) drop(s *answerShard) (next time.Duration, more bool) {
	now := a.clock.now()
	for len(s.blocks) > 0 {
		if s.first == len(s.blocks[0]) {
			s.blocks[0] = nil
			s.blocks, s.oldest, s.first = s.blocks[1:], s.oldest+1, 0
			continue
		}
		b := s.record(s.oldest*blockSize + uint64(s.first))
		if end := time.Duration(binary.NativeEndian.Uint64(b[endAt:])); end > now {
			return end, true
		}
		s.first += len(b)
		s.n--
		a.live.Add(-1)
	}
	return 0, false
}

// sweepAll lets go of everything that has ended.
func (a *answers) sweepAll() {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		a.sweep(s)
		s.mu.Unlock()
	}
}
