// Package auth decides who sends a request: an authenticated user, a trusted peer, or
// nobody we know.
//
// Users answer a Digest challenge. There is one realm per domain, the domain itself, and
// the strongest algorithm comes first: web clients know MD5 only and take the last
// challenge they see, phones that follow RFC 8760 take the first one they can answer. As a
// browser is challenged for every request outside a dialog, a user who has registered on a
// connection can be believed on it for as long as the binding lives (Config.FlowCalls);
// the source of a UDP datagram proves nothing, so only connections count. Peers are trusted
// by their address, the name in their certificate, or the listener that they come to.
//
// Users may show a token instead, in a request or when they open a WebSocket, or a one-time
// ticket then. Who was known when his connection was opened is the only one who is served on
// it, and a connection ends with its user's token.
//
// RFCs: 3261 §22 (authentication), 7616 and 8760 (Digest, by package sip/digest), 8898 (tokens,
// by package auth/token).
package auth
