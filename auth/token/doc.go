// Package token verifies the JSON Web Tokens by which users of a web site are users of ours,
// without a password in their pages.
//
// A key decides which algorithm is taken with it: HS256 with a shared secret, RS256, ES256
// and EdDSA with a public key of that kind. What a token says of its algorithm is compared
// with that and never followed. Public keys come from a file or a URL, shared secrets from a
// file alone.
//
// RFCs: 7515, 7517, 7518, 8037 (signatures and keys), 7519 and 8725 (tokens).
package token
