package memory

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// An order is compared with a sorted slice through growth, churn and decline.
func TestOrder(t *testing.T) {
	o := sorted[int](cmp.Compare[int], nil)
	var model []int
	r := rand.New(rand.NewPCG(1, 2))
	const span = 20_000
	for step := range 60_000 {
		key := r.IntN(span)
		at, found := slices.BinarySearch(model, key)
		// At first most keys are inserted, at the end most are deleted.
		if r.IntN(60_000) > step {
			o.insert(key)
			if !found {
				model = slices.Insert(model, at, key)
			}
		} else {
			o.delete(key)
			if found {
				model = slices.Delete(model, at, at+1)
			}
		}
		if step%997 == 0 {
			checkOrder(t, &o, model, r.IntN(span))
		}
	}
	for _, key := range slices.Clone(model) {
		o.delete(key)
	}
	checkOrder(t, &o, nil, 0)
	if len(o.blocks) != 0 {
		t.Errorf("%d blocks are left of an empty order", len(o.blocks))
	}
}

func checkOrder(t *testing.T, o *order[int], model []int, start int) {
	t.Helper()
	if got := o.from(nil, -1, len(model)+1); !slices.Equal(got, model) {
		t.Fatalf("%d keys, want %d", len(got), len(model))
	}
	at, _ := slices.BinarySearch(model, start)
	want := model[at:min(at+700, len(model))]
	if got := o.from(nil, start, 700); !slices.Equal(got, want) {
		t.Fatalf("from %d: %d keys, want %d", start, len(got), len(want))
	}
	for i, b := range o.blocks {
		if len(b) == 0 || len(b) > blockSize {
			t.Fatalf("block %d has %d keys", i, len(b))
		}
	}
	if most := 2 + 8*len(model)/blockSize; len(o.blocks) > most {
		t.Fatalf("%d blocks for %d keys", len(o.blocks), len(model))
	}
}

func TestSorted(t *testing.T) {
	keys := make([]int, 2000)
	for i := range keys {
		keys[i] = 2 * i
	}
	o := sorted(cmp.Compare[int], keys)
	checkOrder(t, &o, keys, 1001)
	o.insert(4000)
	o.insert(-1)
	checkOrder(t, &o, append([]int{-1}, append(keys, 4000)...), 17)
}
