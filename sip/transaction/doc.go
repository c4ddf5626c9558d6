// Package transaction is the transaction layer of SIP: it turns messages that may be lost
// or repeated into requests and responses that are not.
//
// It stands between a transport, which moves bytes over flows, and its user, the
// registrar or proxy core. The transport hands it every message by [Layer.Receive]. A
// request that belongs to no transaction creates a [Server], which is given to
// [User.Request]; a retransmission is answered from the bytes of the last response without
// troubling the user. The user sends a request by [Layer.Request] and hears of its
// responses by a [ClientHandler].
//
// There are four machines, one to a file, each drawn in a figure of the RFC:
//
//	client_invite.go     INVITE client       RFC 6026 §8.4, figure 5
//	client_noninvite.go  non-INVITE client   RFC 3261 §17.1.2, figure 6
//	server_invite.go     INVITE server       RFC 6026 §8.6, figure 7
//	server_noninvite.go  non-INVITE server   RFC 3261 §17.2.2, figure 8, and RFC 4320
//
// An event is a method that switches on the state, in the order of the figure, and returns
// an [action]; a state is left only through enter, which stops and arms the timers.
//
// # Concurrency
//
// Everything exported is safe for concurrent use. A transaction computes under its own
// mutex. A server transaction sends under it too, which never blocks, so that responses leave
// in the order in which they were accepted; the user is called without a lock. The calls for one transaction come one after the other, in the order of the
// machine's transitions, on whatever goroutine brought the event; while one is running,
// events of other goroutines are queued for it. The user may call back into the package
// from any of them.
//
// Lock order: a transaction's mutex, then that of one table shard, one list of a flow, one
// alarm, or those of the transport. Never two transactions at once.
//
// # Standards
//
// RFC 3261 §9 (CANCEL), §17 (transactions), §18.2.2 (where responses go), RFC 3326 (Reason
// in CANCEL), RFC 3581 (rport), RFC 4320 (non-INVITE), RFC 6026 (2xx to INVITE), and RFC
// 7118 §5.2 as far as a WebSocket client can't be connected to. Requests of RFC 2543
// clients are matched by RFC 3261 §17.2.3.
package transaction
