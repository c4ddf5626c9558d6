package transaction

import (
	"cmp"
	"context"
	"time"

	"github.com/sipway/sipway/sip"
)

// Config holds what a [Layer] may be told. Its zero value is the default of the RFCs.
type Config struct {
	// T1 is the estimate of the round-trip time (RFC 3261 §17.1.1.1); 500 ms.
	T1 time.Duration
	// T2 is the longest interval between retransmissions of a non-INVITE request or of an
	// INVITE response (RFC 3261 §17.1.2.2); 4 s.
	T2 time.Duration
	// T4 is the longest time that a message stays in the network (RFC 3261 §17.1.2.2); 5 s.
	T4 time.Duration

	// TryingDelay is how long after its arrival an INVITE is answered with 100 if the user
	// has answered nothing by then. It is at most 200 ms (RFC 3261 §17.2.1). 0 means as soon
	// as User.Request returns: a caller in a browser keeps a CANCEL back until a provisional
	// response, so any delay is one in which it can't hang up.
	TryingDelay time.Duration

	// Elsewhere returns the servers that a response may go to when its flow has closed and
	// its sender takes no connection at the address that it sent from (RFC 3261 §18.2.2,
	// RFC 3263 §5): those of the sent-by, port 0 where none is written, one with each call
	// of next until that returns an error. It returns nil where a response is to go nowhere
	// else, and may be nil. Whoever it is not nil for can have us connect to any address.
	Elsewhere func(f sip.Flow, host string, port uint16) (next func(ctx context.Context) (sip.Server, error))

	// MaxTransactions bounds the transactions that live at a time, client and server
	// together; 524288. Above it new requests are answered with 503 and a Retry-After, while
	// requests that the user sends, and ACK and CANCEL, go on: they finish work that was
	// admitted. A transaction over UDP lives for 64*T1, so that the default serves 16,000
	// new ones a second.
	MaxTransactions int

	// Priority tells the requests that are served until an eighth more than MaxTransactions
	// live, when others are refused; nil: those within a dialog. It must not block.
	Priority func(m *sip.Message) bool
}

const (
	defaultT1 = 500 * time.Millisecond
	defaultT2 = 4 * time.Second
	defaultT4 = 5 * time.Second

	defaultMaxTransactions = 1 << 19

	// maxTryingDelay is the time in which RFC 3261 §17.2.1 wants a 100 or better.
	maxTryingDelay = 200 * time.Millisecond

	// minTimerD is the value below which Timer D must not be over an unreliable transport,
	// whatever T1 is, since the peer's T1 is not known (RFC 3261 §17.1.1.2).
	minTimerD = 32 * time.Second
)

// periods are the values of the timers for one T1, T2 and T4 (RFC 3261, table 4, and RFC
// 6026 §8.11). A timer that the table sets to 0 over reliable transports has its value for
// UDP here.
type periods struct {
	t1, t2 time.Duration // Timers A, E, G begin with T1; T2 caps E and G

	timeout   time.Duration // Timers B, F, H, J, L, M: 64*T1
	timerD    time.Duration
	timerI    time.Duration // T4
	timerK    time.Duration // T4
	trying    time.Duration // from the arrival of an INVITE to its 100
	lateReply time.Duration // from the arrival of another request to its 100 (RFC 4320 §4.1)
}

func newPeriods(c Config) periods {
	t1 := cmp.Or(c.T1, defaultT1)
	t2 := cmp.Or(c.T2, defaultT2)
	t4 := cmp.Or(c.T4, defaultT4)
	return periods{
		t1: t1, t2: t2,
		timeout:   64 * t1,
		timerD:    max(64*t1, minTimerD),
		timerI:    t4,
		timerK:    t4,
		trying:    min(c.TryingDelay, maxTryingDelay),
		lateReply: untilT2(t1, t2),
	}
}

// untilT2 is the time it takes a client's Timer E to be reset to T2: 3.5 s by default.
func untilT2(t1, t2 time.Duration) (sum time.Duration) {
	for interval := t1; ; interval *= 2 {
		sum += interval
		if 2*interval >= t2 {
			return sum
		}
	}
}
