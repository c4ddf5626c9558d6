package store

// Changes says how the rows of an AOR get from the set old to the set that [Apply] made of
// it, for implementations that keep rows. old may still have expired bindings.
type Changes struct {
	Delete []Binding // gone; to be deleted first
	Insert []Binding // new, in this order behind those that stay
	Update []Binding // same row, new content
	Touch  []Binding // same row; only CSeq, Updated and Expires differ: a plain refresh
}

// Diff compares two sets of bindings of one AOR.
func Diff(old, next []Binding) Changes {
	var c Changes
	for i := range old {
		if at := index(next, old[i].Key); at < 0 || !next[at].Created.Equal(old[i].Created) {
			c.Delete = append(c.Delete, old[i])
		}
	}
	for _, b := range next {
		at := index(old, b.Key)
		switch {
		case at < 0 || !b.Created.Equal(old[at].Created):
			c.Insert = append(c.Insert, b)
		case b == old[at]:
		case b == touched(old[at], &b):
			c.Touch = append(c.Touch, b)
		default:
			c.Update = append(c.Update, b)
		}
	}
	return c
}

// touched returns old with those fields of b that a plain refresh changes.
func touched(old Binding, b *Binding) Binding {
	old.CSeq, old.Updated, old.Expires = b.CSeq, b.Updated, b.Expires
	return old
}

// Touched reports whether next is old but for one binding that was plainly refreshed, and
// which one that is: CSeq, Updated and Expires differ alone.
func Touched(old, next []Binding) (at int, ok bool) {
	if len(old) != len(next) {
		return 0, false
	}
	at = -1
	for i := range next {
		switch {
		case next[i] == old[i]:
		case at < 0 && next[i] == touched(old[i], &next[i]):
			at = i
		default:
			return 0, false
		}
	}
	return at, at >= 0
}
