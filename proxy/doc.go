// Package proxy is a stateful SIP proxy: it validates a request, finds its targets, forks
// it to them and sends the best response back.
//
// The files follow RFC 3261 §16:
//
//	validate.go   §16.3  request validation, with the loop detection of RFC 5393
//	route.go      §16.4  route information preprocessing
//	authorize.go  §16.3 step 6, §22.3, RFC 3325: who may send what to whom
//	merged.go     §8.2.2.2  requests that arrive a second time, on another way
//	target.go     §16.5  determining request targets
//	instance.go   RFC 5626 §7, RFC 5627 §6.1  one instance: its flows, GRUUs, its contact
//	disposition.go  RFC 3841 §9.1  what the caller would like
//	redirect.go   RFC 3841 §9.1  302 for a peer that wants it
//	preference.go RFC 3841 §7.2  whom the caller prefers
//	suit.go       RFC 5630 §5.3  which targets suit, sips among them
//	set.go        §16.6, RFC 5393 §5.3  the target set: order, groups, Max-Breadth
//	forward.go    §16.6  request forwarding
//	hop.go        §16.6 step 7  the next hop: a flow, or the servers of a URI (RFC 3263)
//	context.go    §16.7  response processing, in the response context that owns all branches
//	branch.go     §16.7 step 2, §16.8, §16.9  one branch: its client transaction and Timer C
//	failover.go   RFC 3263 §4.3  from a server that fails to the next one, within a branch
//	large.go      §18.1.1  requests that are too large for a datagram
//	recurse.go    §16.7 step 4  recursion on 3xx
//	best.go       §16.7 steps 6 and 7  the choice of the best response
//	late.go       2xx of further phones, by policy
//	reroute.go    §16.9  a request within a dialog whose flow ends under it
//	owner.go      RFC 5626 §5.3  a dialog follows its client to its present flow
//	park.go       waiting for a user whose flow broke just now
//	calls.go      RFC 3261 §12  what passes is noted among the calls
//	session.go    RFC 4028 §8  session timers
//	overload.go   §21.5.4  what is served when there is too much of it
//	ack.go        §16.11  ACK to a 2xx, which has no transaction
//	options.go    §11.2  OPTIONS to the proxy itself
//	token.go      RFC 5626 §5.2  flow tokens in Record-Route
//
// A request is processed on the goroutine that read it, as far as nothing must be waited
// for: only a user or an AOR that is not in memory, a name to resolve and a connection to
// open go on on another.
package proxy
