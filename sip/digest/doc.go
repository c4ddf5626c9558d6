// Package digest is the server's side of Digest access authentication in SIP: RFC 3261 §22,
// RFC 7616 and RFC 8760, with the algorithms MD5, SHA-256 and SHA-512-256 and the qualities of
// protection "auth" and "auth-int".
//
// A [Server] writes challenges and judges their answers. It keeps nothing for a challenge it
// issued: a nonce carries its time and a signature, so nonces stay good over a restart with the
// same key. Only a nonce that was used with a right password costs memory, a slot in a table of
// fixed size that remembers which nonce counts it was used with (RFC 7616 §3.3, §5.5).
//
// The usual way of a request:
//
//	creds, found, err := digest.Find(lines, realm) // err: 400; not found: challenge
//	ha1 := ...                                     // stored H(A1) of creds.Username for creds.Algorithm, "" if there is none
//	res := server.Verify(&creds, digest.Request{Method: "REGISTER", URI: requestURI, Realm: realm}, ha1)
//	switch res.Outcome {
//	case digest.OK:         // go on
//	case digest.BadRequest: // 400 with res.Reason
//	default:                // 401 or 407 with server.Challenges(realm, res.Outcome == digest.Stale, false)
//	}
//
// An unknown user has the H(A1) "": the work done and the answer given are those of a wrong
// password, so that names cannot be probed.
package digest
