package transaction

import (
	"sync"

	"github.com/sipway/sipway/sip"
)

// buffers are for messages that nobody holds once they have been sent: those on a stream flow,
// which are not retransmitted and of which the [Sender] keeps nothing, and those that are
// copied to be repeated. They would be the half of the garbage of a call.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

type buffer struct{ b []byte }

// keptBuffer bounds what a buffer holds on to: a browser's INVITE fits.
const keptBuffer = 8 << 10

// write writes a message into the buffer, until it is released.
func (b *buffer) write(m *sip.Message) []byte {
	if size := m.Size(); cap(b.b) < size {
		b.b = make([]byte, 0, max(size, keptBuffer))
	}
	b.b = m.AppendTo(b.b[:0])
	return b.b
}

// empty returns its memory to be appended to. What has more than that has memory of its own.
func (b *buffer) empty() []byte {
	if b.b == nil {
		b.b = make([]byte, 0, keptBuffer)
	}
	return b.b[:0]
}

func (b *buffer) release() {
	if cap(b.b) <= keptBuffer {
		buffers.Put(b)
	}
}
