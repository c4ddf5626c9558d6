package digest

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"strings"
)

// Algorithm is a hash algorithm of the IANA registry "Hash Algorithms for HTTP Digest
// Authentication". The zero value is none of those supported.
type Algorithm uint8

// The algorithms supported. The session variants are not: they need a state per nonce, and a
// challenge with one makes web clients drop the whole response.
const (
	MD5 Algorithm = 1 + iota
	SHA256
	SHA512256 // SHA-512/256
)

// String returns the name used in the algorithm parameter, "MD5", "SHA-256" or
// "SHA-512-256".
func (a Algorithm) String() string {
	switch a {
	case MD5:
		return "MD5"
	case SHA256:
		return "SHA-256"
	case SHA512256:
		return "SHA-512-256"
	}
	return ""
}

// ParseAlgorithm reads an algorithm's name in any case.
func ParseAlgorithm(s string) (Algorithm, bool) {
	switch {
	case strings.EqualFold(s, "MD5"):
		return MD5, true
	case strings.EqualFold(s, "SHA-256"):
		return SHA256, true
	case strings.EqualFold(s, "SHA-512-256"):
		return SHA512256, true
	}
	return 0, false
}

// MarshalText returns the algorithm's name, for configuration files.
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the algorithm's name.
func (a *Algorithm) UnmarshalText(text []byte) error {
	var ok bool
	if *a, ok = ParseAlgorithm(string(text)); !ok {
		return errors.New("expects MD5, SHA-256 or SHA-512-256")
	}
	return nil
}

// HA1 returns H(A1) of RFC 7616 §3.4.2 in lower-case hex: all that a server has to keep of a
// password. It is worth as much as the password within its realm and must be kept as safe.
func HA1(a Algorithm, user, realm, password string) string {
	return string(a.appendHex(nil, []byte(user+":"+realm+":"+password)))
}

// hexSize returns the length of a digest in hex.
func (a Algorithm) hexSize() int {
	switch a {
	case SHA256:
		return hex.EncodedLen(sha256.Size)
	case SHA512256:
		return hex.EncodedLen(sha512.Size256)
	}
	return hex.EncodedLen(md5.Size)
}

// appendHex appends the digest of data in lower-case hex (RFC 8760 §2.2).
func (a Algorithm) appendHex(dst, data []byte) []byte {
	switch a {
	case SHA256:
		sum := sha256.Sum256(data)
		return hex.AppendEncode(dst, sum[:])
	case SHA512256:
		sum := sha512.Sum512_256(data)
		return hex.AppendEncode(dst, sum[:])
	}
	sum := md5.Sum(data)
	return hex.AppendEncode(dst, sum[:])
}
