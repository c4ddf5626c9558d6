package transport

import (
	"sync/atomic"

	"github.com/sipway/sipway/sip"
)

// Stats counts what passed over one transport since the layer was made.
type Stats struct {
	Flows      int    // open connections
	Opened     uint64 // connections, accepted and dialled
	Refused    uint64 // connections closed as they came, above the limit or in a shutdown
	In, Out    uint64 // messages
	BytesIn    uint64 // of messages
	BytesOut   uint64
	Malformed  uint64 // of In, those that could not be read
	Dropped    uint64 // messages that were to be sent and were not
	Dead       uint64 // connections closed because the peer did not answer a ping
	Keepalives uint64 // pings, pongs and other fillings received between messages
}

// tally is what one UDP socket, or one transport's connections in a shard, count.
type tally struct {
	opened, closed    atomic.Uint64
	refused, dead     atomic.Uint64
	in, out           atomic.Uint64
	bytesIn, bytesOut atomic.Uint64
	malformed         atomic.Uint64
	dropped           atomic.Uint64
	keepalives        atomic.Uint64
}

func (t *tally) sent(size int, err error) {
	if err != nil {
		t.dropped.Add(1)
		return
	}
	t.out.Add(1)
	t.bytesOut.Add(uint64(size))
}

func (t *tally) sentAll(sent, dropped, size int) {
	t.out.Add(uint64(sent))
	t.dropped.Add(uint64(dropped))
	t.bytesOut.Add(uint64(size))
}

func (t *tally) addTo(s *Stats) {
	opened := t.opened.Load()
	s.Flows += int(opened - t.closed.Load())
	s.Opened += opened
	s.Refused += t.refused.Load()
	s.Dead += t.dead.Load()
	s.In += t.in.Load()
	s.Out += t.out.Load()
	s.BytesIn += t.bytesIn.Load()
	s.BytesOut += t.bytesOut.Load()
	s.Malformed += t.malformed.Load()
	s.Dropped += t.dropped.Load()
	s.Keepalives += t.keepalives.Load()
}

// Stats returns the counts of every transport. They are not taken at one instant.
func (l *Layer) Stats() map[sip.Transport]Stats {
	stats := make(map[sip.Transport]Stats, sip.WSS)
	for t := sip.TCP; t <= sip.WSS; t++ {
		var s Stats
		for i := range l.flows.shards {
			l.flows.shards[i].tally[t].addTo(&s)
		}
		stats[t] = s
	}
	var s Stats
	for _, listener := range l.datagrams() {
		for _, socket := range listener.sockets {
			socket.tally.addTo(&s)
		}
	}
	stats[sip.UDP] = s
	return stats
}
