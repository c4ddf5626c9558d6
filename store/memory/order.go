package memory

import "slices"

// blockSize bounds a block of an order: small enough that an insertion moves little memory,
// large enough that a million keys make a few thousand blocks.
const blockSize = 512

// order is a sorted set of keys for listings: blocks of sorted keys, themselves in order.
// A key is found by two binary searches; inserting or deleting one moves at most one block
// and, once in hundreds of times, the list of blocks. It is not safe for concurrent use.
type order[K any] struct {
	compare func(a, b K) int
	blocks  [][]K // none is empty
}

// sorted returns an order of keys that are sorted already and differ from each other.
func sorted[K any](compare func(a, b K) int, keys []K) order[K] {
	o := order[K]{compare: compare}
	for part := range slices.Chunk(keys, blockSize/2) {
		o.blocks = append(o.blocks, slices.Clone(part))
	}
	return o
}

// find returns the block that has the key or would have it, the place in it, and whether
// it is there.
func (o *order[K]) find(key K) (block, at int, found bool) {
	// The last block whose first key is not above the key.
	block, found = slices.BinarySearchFunc(o.blocks, key, func(b []K, key K) int {
		return o.compare(b[0], key)
	})
	if found {
		return block, 0, true
	}
	block = max(block-1, 0)
	if block == len(o.blocks) {
		return block, 0, false
	}
	at, found = slices.BinarySearchFunc(o.blocks[block], key, o.compare)
	return block, at, found
}

// insert adds a key; one that is there already stays.
func (o *order[K]) insert(key K) {
	block, at, found := o.find(key)
	switch {
	case found:
		return
	case len(o.blocks) == 0:
		o.blocks = append(o.blocks, []K{key})
		return
	}
	b := slices.Insert(o.blocks[block], at, key)
	o.blocks[block] = b
	if len(b) > blockSize {
		// The second half becomes a block of its own; keys that come in order leave
		// full enough blocks behind.
		half := slices.Clone(b[blockSize/2:])
		clear(b[blockSize/2:])
		o.blocks[block] = b[:blockSize/2]
		o.blocks = slices.Insert(o.blocks, block+1, half)
	}
}

// delete removes a key if it is there.
func (o *order[K]) delete(key K) {
	block, at, found := o.find(key)
	if !found {
		return
	}
	b := slices.Delete(o.blocks[block], at, at+1)
	o.blocks[block] = b
	switch {
	case len(b) == 0:
		o.blocks = slices.Delete(o.blocks, block, block+1)
	case block+1 < len(o.blocks) && len(b)+len(o.blocks[block+1]) <= blockSize/2:
		// Neighbours that have become small are joined, so that blocks stay few.
		o.blocks[block] = append(b, o.blocks[block+1]...)
		o.blocks = slices.Delete(o.blocks, block+1, block+2)
	}
}

// from appends to dst up to n keys, the first of them being the key itself if it is there
// or else the one that follows.
func (o *order[K]) from(dst []K, key K, n int) []K {
	block, at, _ := o.find(key)
	for ; block < len(o.blocks) && n > 0; block, at = block+1, 0 {
		b := o.blocks[block][at:]
		b = b[:min(n, len(b))]
		dst = append(dst, b...)
		n -= len(b)
	}
	return dst
}
