package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/MicahParks/jwkset"
)

// algorithms are those that tokens may be signed with (RFC 7518 §3.1, RFC 8037 §3.1).
var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

// key is a key with the one algorithm that it is for.
type key struct {
	id  string // "" for none
	alg string
	key any // as package jwt has it
}

const (
	minSecret = 32   // bytes of an HS256 key (RFC 7518 §3.2)
	minRSA    = 2048 // bits of an RSA modulus (RFC 7518 §3.3)
)

var errUnusable = errors.New("expects an RSA key of 2048 bits or more, an EC key on P-256, an Ed25519 key or a shared secret of 32 bytes or more")

// newKey finds the algorithm of a key. Of a private one it takes the public half.
func newKey(id string, k any) (key, error) {
	if private, ok := k.(interface{ Public() crypto.PublicKey }); ok {
		k = private.Public()
	}
	switch k := k.(type) {
	case []byte:
		if len(k) >= minSecret {
			return key{id, "HS256", k}, nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return key{id, "RS256", k}, nil
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return key{id, "ES256", k}, nil
		}
	case ed25519.PublicKey:
		return key{id, "EdDSA", k}, nil
	}
	return key{}, errUnusable
}

// readKeys reads a file of public keys in PEM, or of a JWK Set.
func readKeys(file string) ([]key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var keys []key
	if text = bytes.TrimSpace(text); bytes.HasPrefix(text, []byte("{")) {
		keys, err = parseSet(text, true)
	} else {
		keys, err = parsePEM(text)
	}
	if err == nil && len(keys) == 0 {
		err = errors.New(`expects public keys in PEM, or a JWK Set, {"keys": [...]}; a shared secret is {"kty": "oct", "k": "..."} in one`)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

func parsePEM(text []byte) (keys []key, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return keys, nil
		}
		var public any
		switch block.Type {
		case "CERTIFICATE":
			var cert *x509.Certificate
			if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
				public = cert.PublicKey
			}
		case "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		default:
			err = fmt.Errorf("%s: only public keys are needed here", block.Type)
		}
		if err != nil {
			return nil, err
		}
		k, err := newKey("", public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
}

// parseSet reads a JWK Set (RFC 7517 §5). Keys for other uses or of other kinds are passed
// over, as it asks. secrets says that shared secrets are taken.
func parseSet(text []byte, secrets bool) ([]key, error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("no JWK Set") // the cause may quote a secret
	}
	var keys []key
	for _, entry := range set.Keys {
		if entry.USE != "" && entry.USE != jwkset.UseSig || entry.KTY == jwkset.KtyOct && !secrets {
			continue
		}
		jwk, err := jwkset.NewJWKFromMarshal(entry, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{SkipAll: true})
		if err != nil {
			continue
		}
		k, err := newKey(entry.KID, jwk.Key())
		if err != nil || entry.ALG != "" && entry.ALG.String() != k.alg {
			continue
		}
		keys = append(keys, k)
	}
	return keys, nil
}
