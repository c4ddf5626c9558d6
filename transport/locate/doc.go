// Package locate finds the servers that a SIP URI leads to (RFC 3263), and remembers which
// of them failed.
package locate
