package main

import "testing"

func TestCollectorPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 1600, 4 << 20: 1600, 8 << 20: 800, 30 << 20: 400, 60 << 20: 200, 64 << 20: 100, 1 << 30: 100} {
		got := collectorPercent(live)
		if got != want {
			t.Errorf("with %d MiB live: %d %%, want %d %%", live>>20, got, want)
		}
	}
}

// A server that has become idle hands memory back once, not every time it looks.
func TestMemoryReturned(t *testing.T) {
	m := newMemory()
	m.percent = collectorPercent(0)
	garbage := make([][]byte, 0, 64)
	for range cap(garbage) {
		garbage = append(garbage, make([]byte, 1<<20))
	}
	if m.adapt() {
		t.Error("64 MiB allocated since the last look count as idle")
	}
	clear(garbage)
	for m.idle+memoryInterval < idleTime {
		if m.adapt() {
			t.Errorf("handed back after %v", m.idle)
		}
	}
	if !m.adapt() {
		t.Error("nothing was handed back")
	}
	if m.adapt() {
		t.Error("handed back again, with nothing new to hand back")
	}
}
