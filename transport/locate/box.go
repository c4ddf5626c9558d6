package locate

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/sipway/sipway/sip"
)

const (
	// boxSize bounds the servers that are remembered as failed.
	boxSize = 4096

	// pause is how long a server is passed over that failed, and longestPause how long when
	// it failed again and again.
	pause        = 30 * time.Second
	longestPause = 5 * time.Minute

	// trialTime is how long a request may take to find out whether a server is back, before
	// another one tries: Timer B, and a little more.
	trialTime = 35 * time.Second
)

// verdict is what is known of a server.
type verdict uint8

const (
	usable   verdict = iota
	doubtful         // it failed lately: only where there is no better one
	declined         // it asked to be left alone
)

// box remembers which servers failed, for all requests. When a server's pause is over, one
// request tries it while the others still pass it over, until it answers.
type box struct {
	mu      sync.Mutex
	servers *simplelru.LRU[sip.Server, failure] // by keyOf
}

type failure struct {
	until    time.Time
	pause    time.Duration // the last one
	declined bool
	trial    time.Time // a request tries it until then
}

// keyOf is what a server is known by: over TLS one address may prove one name and not
// another, else the name makes no difference.
func keyOf(s sip.Server) sip.Server {
	if !s.Transport.Secure() {
		s.Name = ""
	}
	return s
}

func newBox() *box {
	servers, err := simplelru.NewLRU[sip.Server, failure](boxSize, nil)
	if err != nil {
		panic(err) // of a size below 1 only
	}
	return &box{servers: servers}
}

// look says what is known of a server. Who is told that a server is usable whose pause is
// over is the one to try it.
func (b *box) look(s sip.Server) verdict {
	s = keyOf(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	f, ok := b.servers.Get(s)
	if !ok {
		return usable
	}
	now := time.Now()
	switch {
	case now.Before(f.until) && f.declined:
		return declined
	case now.Before(f.until) || now.Before(f.trial):
		return doubtful
	case f.declined:
		b.servers.Remove(s)
		return usable
	}
	f.trial = now.Add(trialTime)
	b.servers.Add(s, f)
	return usable
}

// failed notes a failure, with a pause of its own where d is not 0. Of many requests that
// find the same fault at the same time one counts.
func (b *box) failed(s sip.Server, d time.Duration) {
	s = keyOf(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	f, again := b.servers.Get(s)
	if again && now.Before(f.until) {
		return
	}
	if d == 0 {
		d = pause
		if again && !f.declined {
			d = min(2*f.pause, longestPause)
		}
	}
	b.servers.Add(s, failure{until: now.Add(d), pause: d})
}

// decline notes that a server wants to be left alone.
func (b *box) decline(s sip.Server, d time.Duration) {
	s = keyOf(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers.Add(s, failure{until: time.Now().Add(d), declined: true})
}

// answered notes that a server is there. What it declined for a time it still declines.
func (b *box) answered(s sip.Server) {
	s = keyOf(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.servers.Len() == 0 {
		return
	}
	if f, ok := b.servers.Peek(s); ok && !(f.declined && time.Now().Before(f.until)) {
		b.servers.Remove(s)
	}
}
