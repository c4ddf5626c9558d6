package store

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
)

// Sort is the order of a listing.
type Sort uint8

// The orders. Where two bindings are equal in what they are sorted by, AOR and key decide.
const (
	ByAOR     Sort = iota // by AOR, then key, both byte by byte
	ByExpires             // what expires first comes first
	ByUpdated             // what was added or refreshed last comes first
)

// Cursor is a place in a listing. The zero Cursor is before all.
type Cursor struct {
	At       int64 // the time that the listing is sorted by, in Unix milliseconds; 0 in ByAOR
	AOR, Key string
}

// Cursor returns the place of a binding in a listing of this order.
func (s Sort) Cursor(b *Binding) Cursor {
	c := Cursor{AOR: b.AOR, Key: b.Key}
	switch s {
	case ByExpires:
		c.At = b.Expires.UnixMilli()
	case ByUpdated:
		c.At = b.Updated.UnixMilli()
	}
	return c
}

// Compare orders cursors as listings of this order do.
func (s Sort) Compare(c, d Cursor) int {
	first := cmp.Compare(c.At, d.At)
	if s == ByUpdated {
		first = -first
	}
	return cmp.Or(first, strings.Compare(c.AOR, d.AOR), strings.Compare(c.Key, d.Key))
}

// Query asks for a page of a listing. All of its conditions must be met.
type Query struct {
	// Pattern selects AORs: '*' stands for any run of characters, all others for
	// themselves. The empty pattern selects all. See [Match].
	Pattern string
	// UserAgent is a part of the user agent's name, in any case of its ASCII letters.
	UserAgent string
	// Transport is the one that the binding was made over; zero for any.
	Transport sip.Transport
	// Node is the one that the binding was made at.
	Node string
	// Source has the address that the REGISTER came from; the zero Prefix for any.
	Source netip.Prefix
	// ExpiresBefore selects what expires before that time, unless it is zero.
	ExpiresBefore time.Time

	Sort Sort
	// After is the cursor of the last binding of the page before; zero for the first.
	After Cursor
	// Limit bounds the page; 0 or less means DefaultPage.
	Limit int
	// Now decides which bindings exist.
	Now time.Time
}

// Selects reports whether the binding meets the conditions of the query, Now apart.
func (q *Query) Selects(b *Binding) bool {
	return (q.Transport == 0 || b.Flow.Transport == q.Transport) &&
		(q.Node == "" || b.Node == q.Node) &&
		(q.ExpiresBefore.IsZero() || b.Expires.UnixMilli() < q.ExpiresBefore.UnixMilli()) &&
		q.From(b.Flow.Remote) &&
		(q.UserAgent == "" || strings.Contains(Fold(b.UserAgent), Fold(q.UserAgent))) &&
		Match(q.Pattern, b.AOR)
}

// From reports whether Source has the address.
func (q *Query) From(remote netip.AddrPort) bool {
	return !q.Source.IsValid() || q.Source.Contains(remote.Addr().Unmap().WithZone(""))
}

// Follows reports whether the binding comes after the query's cursor.
func (q *Query) Follows(b *Binding) bool {
	return q.After == Cursor{} || q.Sort.Compare(q.Sort.Cursor(b), q.After) > 0
}

// Fold returns s with its ASCII letters in lower case, as databases without a locale do.
func Fold(s string) string {
	folded := []byte(s)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] += 'a' - 'A'
		}
	}
	return string(folded)
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
