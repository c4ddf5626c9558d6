package digest

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestReplayWindow(t *testing.T) {
	r := newReplay(8)
	const id = nonceID(1<<32 | 5)
	for i, step := range []struct {
		nc   uint32
		want bool
	}{
		{2, true}, // the count went on over a new nonce
		{2, false},
		{1, true}, // out of order
		{1, false},
		{70, true},
		{7, true}, // the last one within the window
		{7, false},
		{6, false}, // below the window
		{2, false},
		{1 << 31, true}, // leaves the window behind
		{70, false},
		{1<<31 - 63, true},
		{1<<32 - 1, true},
		{1<<32 - 1, false},
	} {
		if got := r.use(id, step.nc); got != step.want {
			t.Errorf("step %d: use(%d) = %v", i, step.nc, got)
		}
	}
}

// A nonce that lost its place is gone for good: it can't be replayed.
func TestReplayEviction(t *testing.T) {
	r := newReplay(5) // rounded up to 8
	if len(r.slots) != 8 {
		t.Fatalf("%d slots", len(r.slots))
	}
	const second = nonceID(1) << 32
	old := second | 3
	if !r.use(old, 1) {
		t.Fatal("first use refused")
	}
	for i := range nonceID(7) {
		if !r.use(old+1+i, 1) || !r.use(old, uint32(2+i)) {
			t.Fatalf("nonce %d of the table pushed out another one", i)
		}
	}
	if !r.use(old+8, 1) {
		t.Fatal("newer nonce refused")
	}
	if r.use(old, 100) {
		t.Error("nonce used after it lost its place")
	}
	if !r.use(2*second|3, 1) {
		t.Error("nonce of a later second refused")
	}
}

// Of any number of uses at the same time exactly one is the first.
func TestReplayConcurrent(t *testing.T) {
	r := newReplay(64)
	var first atomic.Int64
	var wg sync.WaitGroup
	const nonces, counts, goroutines = 200, 30, 8
	for range goroutines {
		wg.Go(func() {
			for nc := uint32(1); nc <= counts; nc++ {
				for n := range nonceID(nonces) {
					if r.use(1<<32|n<<8, nc) { // all in one place
						first.Add(1)
					}
					if r.use(1<<40|n%64, nc) {
						first.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := first.Load(); n < 64*counts || n > (64+nonces)*counts {
		t.Errorf("%d first uses", n)
	}
}
