package limits

import "time"

// bucket is a token bucket in the form of the generic cell rate algorithm: the one number is
// the time at which it will be full, or was.
type bucket int64

// rate says how large a bucket is and how fast it fills.
type rate struct {
	token int64 // nanoseconds in which one token comes
	size  int64 // nanoseconds in which an empty one fills
}

// newRate returns a rate of so many tokens in a time, in a bucket of size.
func newRate(tokens float64, in time.Duration, size int) rate {
	token := int64(float64(in) / tokens)
	return rate{token, token * int64(size)}
}

// take takes n tokens, or none and reports false where there are not so many.
func (b *bucket) take(r *rate, n, now int64) bool {
	full := max(int64(*b), now) + n*r.token
	if full-now > r.size {
		return false
	}
	*b = bucket(full)
	return true
}

// spill is take that takes what there is, and reports whether the bucket is empty then.
func (b *bucket) spill(r *rate, n, now int64) (empty bool) {
	full := max(int64(*b), now) + n*r.token
	empty = full-now >= r.size
	*b = bucket(min(full, now+r.size))
	return empty
}

// give puts n tokens back.
func (b *bucket) give(r *rate, n int64) { *b -= bucket(n * r.token) }
