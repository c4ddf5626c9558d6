package store

import (
	"cmp"
	"strings"
	"time"
)

// Cursor is a place in a listing: by AOR, then key, both byte by byte.
type Cursor struct{ AOR, Key string }

// Compare orders cursors as listings do.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(strings.Compare(c.AOR, d.AOR), strings.Compare(c.Key, d.Key))
}

// Query asks for a page of a listing.
type Query struct {
	// Pattern selects AORs: '*' stands for any run of characters, all others for
	// themselves. The empty pattern selects all. See [Match].
	Pattern string
	// After is the cursor of the last binding of the page before; zero for the first.
	After Cursor
	// Limit bounds the page; 0 or less means DefaultPage.
	Limit int
	// Now decides which bindings are live.
	Now time.Time
}

// DefaultPage is the size of a page whose query names none.
const DefaultPage = 1000

// PageSize returns the effective size of a page.
func PageSize(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return limit
}

// Match reports whether the pattern of a [Query] selects s.
func Match(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	prefix, rest, star := strings.Cut(pattern, "*")
	if !star {
		return s == pattern
	}
	s, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return false
	}
	// Between stars the first occurrence is as good as any: what follows has most room.
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}

// Prefix returns the literal text that every AOR selected by the pattern begins with, so
// that a listing can start there.
func Prefix(pattern string) string {
	prefix, _, _ := strings.Cut(pattern, "*")
	return prefix
}
