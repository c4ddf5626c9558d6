package postgres

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/sipway/sipway/store"
)

// heldShards is the number of independently locked parts.
const heldShards = 64

// held has the sets of the AORs that were bound through this process, as they were last
// seen: what keeps ringing while the database is down. Nothing is evicted; an AOR goes when
// its last binding is removed or has expired. The sets share their memory with the cache.
type held struct {
	seed  maphash.Seed
	shard [heldShards]struct {
		mu   sync.Mutex
		sets map[string][]store.Binding
	}
}

// init empties it.
func (h *held) init() {
	h.seed = maphash.MakeSeed()
	for i := range h.shard {
		s := &h.shard[i]
		s.mu.Lock()
		s.sets = make(map[string][]store.Binding)
		s.mu.Unlock()
	}
}

// put notes the set of an AOR that was bound here.
func (h *held) put(aor string, set []store.Binding) {
	s := &h.shard[maphash.String(h.seed, aor)%heldShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(set) == 0 {
		delete(s.sets, aor)
		return
	}
	s.sets[store.OwnAOR(aor, set)] = set
}

// update notes what a look-up found, if the AOR was bound here.
func (h *held) update(aor string, set []store.Binding) {
	s := &h.shard[maphash.String(h.seed, aor)%heldShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sets[aor]; !ok {
		return
	}
	if len(set) == 0 {
		delete(s.sets, aor)
		return
	}
	s.sets[aor] = set
}

func (h *held) get(aor string) ([]store.Binding, bool) {
	s := &h.shard[maphash.String(h.seed, aor)%heldShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	set, ok := s.sets[aor]
	return set, ok
}

// prune lets go of what has expired.
func (h *held) prune(now time.Time) {
	for i := range h.shard {
		s := &h.shard[i]
		s.mu.Lock()
		for aor, set := range s.sets {
			if len(store.Live(set, now)) == 0 {
				delete(s.sets, aor)
			}
		}
		s.mu.Unlock()
	}
}
