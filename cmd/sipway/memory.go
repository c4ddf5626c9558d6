package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A call leaves some 15 KB of garbage behind, so that with a small heap the collector would
// run every few hundred calls and cost more than the calls. It is given room instead: at
// least garbageRoom between two runs, whatever the heap. When the work is done the memory
// is handed back, so that an idle server has the size of its clients.
const (
	garbageRoom = 64 << 20

	// idleRate is the allocation rate in bytes a second below which a server is idle,
	// idleTime how long it must be so, and worthReturning what it must have allocated since
	// the last time, for a collection to be worth its while: memory that is wanted again
	// costs a page fault for every 4 KB, a tenth of a call when bursts of them come once or
	// twice a minute.
	idleRate       = 256 << 10
	idleTime       = 2 * time.Minute
	worthReturning = 8 << 20

	memoryInterval = 2 * time.Second
)

// manageMemory adapts the collector to the heap until ctx ends. An operator who has set
// GOGC has decided otherwise.
func manageMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	m := newMemory()
	ticker := time.NewTicker(memoryInterval)
	defer ticker.Stop()
	for {
		m.adapt()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// memory is what was seen of the heap.
type memory struct {
	samples   []metrics.Sample
	percent   int
	allocated uint64 // up to the last look
	idle      time.Duration
	returned  uint64 // allocated when memory was last handed back
}

const (
	liveHeap = iota
	totalAllocated
)

func newMemory() *memory {
	return &memory{samples: []metrics.Sample{
		liveHeap:       {Name: "/gc/heap/live:bytes"},
		totalAllocated: {Name: "/gc/heap/allocs:bytes"},
	}}
}

// adapt looks at the heap, and reports whether it handed memory back.
func (m *memory) adapt() (returned bool) {
	metrics.Read(m.samples)
	if percent := collectorPercent(m.samples[liveHeap].Value.Uint64()); percent != m.percent {
		m.percent = percent
		debug.SetGCPercent(percent)
	}
	total := m.samples[totalAllocated].Value.Uint64()
	if m.idle += memoryInterval; total-m.allocated > idleRate*uint64(memoryInterval/time.Second) {
		m.idle = 0
	}
	m.allocated = total
	if m.idle < idleTime || total-m.returned < worthReturning {
		return false
	}
	debug.FreeOSMemory()
	m.returned = total
	return true
}

// collectorPercent is the GOGC that leaves garbageRoom with this much live heap, in steps,
// as setting it stops the world for a moment.
func collectorPercent(live uint64) int {
	live = max(live, 4<<20) // the collector's own minimum
	percent := 100
	for percent < 1600 && live*uint64(percent)/100 < garbageRoom {
		percent *= 2
	}
	return percent
}
