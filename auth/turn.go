package auth

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"time"
)

// TURN makes credentials for TURN servers that share a secret with us, by the convention of
// draft-uberti-behave-turn-rest-00, which coturn knows as use-auth-secret: the user's name
// begins with the time when they end, the password is a MAC of it.
type TURN struct {
	Secret string
	URIs   []string
	TTL    time.Duration
}

// TURNCredentials are what a client's RTCPeerConnection is configured with.
type TURNCredentials struct {
	Username string   `json:"username"`
	Password string   `json:"password"`
	TTL      int64    `json:"ttl"` // seconds
	URIs     []string `json:"uris"`
}

// Credentials returns those of a user from now on.
func (t *TURN) Credentials(user string, now time.Time) TURNCredentials {
	name := strconv.FormatInt(now.Add(t.TTL).Unix(), 10) + ":" + user
	mac := hmac.New(sha1.New, []byte(t.Secret))
	mac.Write([]byte(name))
	return TURNCredentials{
		Username: name, Password: base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		TTL: int64(t.TTL / time.Second), URIs: t.URIs,
	}
}
