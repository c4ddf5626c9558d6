// Package sip reads, edits and writes SIP messages without copying them.
//
// A message lives in one exact-size buffer. [Parse] takes ownership of it, indexes its
// header lines and decodes eagerly what every layer needs: the start line, the topmost
// Via, From, To, Call-ID, CSeq, Max-Forwards and Content-Length. Everything else is found
// through the index and decoded when asked for. Every string a message hands out is a
// view of that buffer; one that outlives its message is to be cloned (strings.Clone), or
// it pins the whole buffer.
//
// An edit replaces a line of the index, never a byte of the buffer, so that what was not
// edited is written from its original bytes and in its order. A message that nobody edits
// any more may be read by any number of goroutines; an edit needs exclusive use. Several
// edited versions of one message come from [Message.Clone], which shares the bytes.
//
// The package holds protocol only: no sockets, no clock, nothing but the standard library.
//
// It implements RFC 3261 §7 (messages), §18.3 (framing), §19 (URIs), §20 (header fields),
// §25 (grammar), and the syntax of RFC 3262 (RAck, RSeq), RFC 3265/6665 (Event,
// Subscription-State), RFC 3325 (P-Asserted-Identity), RFC 3326 (Reason), RFC 3327 (Path),
// RFC 3515 (Refer-To), RFC 3581 (rport), RFC 3608 (Service-Route), RFC 3966 (tel URIs),
// RFC 4028 (Session-Expires, Min-SE), RFC 5118 and RFC 5954 (IPv6), RFC 5626 (flows,
// keepalive, Flow-Timer) and RFC 7118 (WebSocket transports).
package sip
