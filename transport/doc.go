// Package transport carries SIP messages over UDP, TCP, TLS, and WebSocket with and without
// TLS below it.
//
// It implements RFC 3261 §18 (transport layer), RFC 3581 (symmetric response routing),
// RFC 5626 §3 and §4.4.1 (flows and their CRLF keepalive), RFC 5922 §7 (who a
// server over TLS must prove to be) and RFC 7118 (WebSocket as a
// transport for SIP, over RFC 6455).
//
// A [Layer] listens, dials, reads and sends. Every message comes from a flow and goes to a
// flow, which is a value, [sip.Flow]: a connection has an incarnation number that no other
// connection ever bears, so a message for a connection that has gone is refused and never
// reaches its successor.
//
// # The way in
//
// One goroutine reads a UDP socket, or the connections that have something to read, in turn. It
// parses a message, notes in its top Via where it came from and calls the [Handler], which
// runs to completion on that goroutine: the messages of a flow arrive in their order, and no
// queue lies between the socket and the transactions. A connection has a goroutine of its own
// only for a handshake, within a WebSocket message that comes in pieces, and for its end; on
// systems other than Linux, always.
//
// # The way out
//
// [Layer.Send] never waits. It writes what the kernel takes at once on the caller's
// goroutine; the rest of a stream's bytes goes to the connection's own bounded queue, which
// a goroutine empties that exists only for as long. A peer that doesn't read is closed when
// the queue is full or does not move, and nobody else notices.
//
// # How it is built
//
// A connection is a stack: the [socket] at the bottom never blocks a writer and holds no
// buffer while it waits to read; TLS, where there is any, and WebSocket framing stand on it
// as they would on any net.Conn.
package transport
