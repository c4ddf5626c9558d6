// Package limits bounds what one stranger can cost: floods, scanners, guessers of passwords.
//
// A [Limiter] keeps, for every source of late, a token bucket of requests and one of
// offences. Who has emptied the first is not heard until it fills again; who has emptied the
// second is banned, each time for longer. A source is an IPv4 address, or the /64 of an IPv6
// address, as one customer has at least that many of those.
//
// Who has proven to be a user of ours is known by his flow, the connection or the UDP address
// and port, and is heard although his source is over its limit or banned: an office behind
// one NAT keeps its phones when one machine there goes mad, and so does a user whose address
// somebody else writes into datagrams. He has a bucket of his own.
//
// Memory is fixed: tables have room for so many, and forget who was silent for longest.
// Nothing is written to a disk; a restart forgets all bans, and whoever deserves one earns it
// again within seconds.
package limits
