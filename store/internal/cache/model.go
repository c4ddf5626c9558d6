package cache

import (
	"cmp"
	"hash/maphash"
	"strings"
	"unsafe"

	"github.com/sipway/sipway/store"
)

// DefaultBytes is what the caches of a store may have together: some 300,000 bindings of
// browsers.
const DefaultBytes = 256 << 20

// usersShare is the part of a store's bytes that users have, as a divisor.
const usersShare = 4

// Bindings returns the cache of the binding sets of AORs for a store that has bytes for all
// caches, 0 meaning DefaultBytes.
func Bindings(bytes int64) *Cache[string, []store.Binding] {
	bytes = cmp.Or(bytes, DefaultBytes)
	return New(Config[string, []store.Binding]{
		Bytes: bytes - bytes/usersShare, Hash: maphash.String, Clone: strings.Clone, Weigh: weighBindings,
	})
}

// weighBindings reckons a set as if it shared no strings with another. The key of a set is
// the AOR of its bindings.
func weighBindings(aor string, set []store.Binding) int {
	n := len(aor)
	for i := range set {
		n += int(unsafe.Sizeof(set[i])) + set[i].TextSize()
	}
	return n
}

// Users returns the cache of users of such a store.
func Users(bytes int64) *Cache[store.UserID, store.User] {
	return New(Config[store.UserID, store.User]{
		Bytes: cmp.Or(bytes, DefaultBytes) / usersShare,
		Hash: func(seed maphash.Seed, id store.UserID) uint64 {
			return maphash.String(seed, id.Name)*31 + maphash.String(seed, id.Domain)
		},
		Clone: func(id store.UserID) store.UserID {
			return store.UserID{Name: strings.Clone(id.Name), Domain: strings.Clone(id.Domain)}
		},
		Weigh: func(id store.UserID, u store.User) int {
			return int(unsafe.Sizeof(u)) + len(id.Name) + len(id.Domain) + len(u.HA1.MD5) + len(u.HA1.SHA256) + len(u.HA1.SHA512256)
		},
	})
}
