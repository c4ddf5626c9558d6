package store

import (
	"cmp"
	"strings"
)

// UserID names a user.
type UserID struct{ Name, Domain string }

// String returns "name@domain".
func (id UserID) String() string { return id.Name + "@" + id.Domain }

// Compare orders users by domain, then name, byte by byte.
func (id UserID) Compare(other UserID) int {
	return cmp.Or(strings.Compare(id.Domain, other.Domain), strings.Compare(id.Name, other.Name))
}

// HA1 holds H(A1), the hash of user, realm and password (RFC 7616 §3.4.2), in lower-case
// hex, one per algorithm; empty where it is not known. Who reads it can register as the
// user, so it is a secret, though not the password.
type HA1 struct {
	MD5       string
	SHA256    string
	SHA512256 string // SHA-512/256 (RFC 7616)
}

// User is somebody who may register. The store never knows the password.
type User struct {
	Name, Domain string
	HA1          HA1
}

// ID returns the user's name.
func (u *User) ID() UserID { return UserID{Name: u.Name, Domain: u.Domain} }

// PutMode says what to do about a user who exists already.
type PutMode uint8

const (
	// Add refuses: ErrExists.
	Add PutMode = iota
	// Upsert replaces the user.
	Upsert
)

// ImportStep is the number of users between two reports of an import's progress.
const ImportStep = 10_000

// Pack moves all strings of the user into one new allocation; see [Binding.Pack].
func (u *User) Pack() {
	texts := [...]*string{&u.Name, &u.Domain, &u.HA1.MD5, &u.HA1.SHA256, &u.HA1.SHA512256}
	pack(texts[:])
}
