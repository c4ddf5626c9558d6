//go:build linux

package load

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/netip"
)

// agent is a registered user agent: a desk phone over UDP or TCP, a browser
// over WS.
type agent struct {
	load      *Load
	transport Transport
	conn      *conn
	index     int // in its transport, and of its registration's exchange
	user      string
	trusted   bool   // its REGISTER is not challenged
	contact   string // URI
	sentBy    string // Via up to its parameters
	viaTail   string // ";rport" where it applies
	headers   string // the lines that say what kind of client it is

	credentials
}

// newAgent gives agent n of a transport its identity: the caller of a pair
// where n is even, the callee where it is odd. A stream agent has its own
// connection from the source address; over UDP it shares the connection of
// its like, unless it is their first and that is nil.
func (l *Load) newAgent(tr Transport, n int, source netip.Addr, shared *conn) (*agent, error) {
	a := &agent{load: l, transport: tr, user: userName(tr, n%2 == 1, n/2), index: n}
	if a.conn = shared; tr != UDP || shared == nil {
		var err error
		if a.conn, err = l.open(tr, source); err != nil {
			return nil, fmt.Errorf("agent %s: %w", a.user, err)
		}
	}
	a.trusted = source == TrustedSource
	a.identify(l.target)
	return a, nil
}

// identify derives what the agent writes into its messages.
func (a *agent) identify(t Target) {
	local := a.conn.local.String()
	switch a.transport {
	case UDP:
		a.contact = "sip:" + a.user + "@" + local
		a.sentBy = "SIP/2.0/UDP " + local
		a.viaTail = ";rport" // RFC 3581 §3
	case TCP:
		a.contact = "sip:" + a.user + "@" + local + ";transport=tcp"
		a.sentBy = "SIP/2.0/TCP " + local
	case WS:
		// A browser knows no address of its own: RFC 7118 §5.
		host := fmt.Sprintf("%08x%04x.invalid", a.conn.mask, a.index)
		a.contact = "sip:" + a.user + "@" + host + ";transport=ws"
		a.sentBy = "SIP/2.0/WS " + host
	}
	a.headers = deskHeaders
	if a.transport == WS {
		a.headers = browserHeaders
	}
	a.credentials.identify(a.user, t)
}

const (
	deskHeaders = `Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY, MESSAGE, PRACK, SUBSCRIBE
Supported: replaces, timer, 100rel, path
Allow-Events: talk, hold, conference, refer, check-sync
User-Agent: Desk Phone 5.4.1 0004f2a1b2c3
`
	browserHeaders = `Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY
Supported: outbound
User-Agent: Web Phone 3.2.0 (WebRTC)
`
)

// credentials answer digest challenges with MD5 and qop=auth (RFC 7616 §3.4).
type credentials struct {
	username, realm string
	ha1             [32]byte // hexadecimal
	nonce           []byte   // nil: none yet
	nc              uint32   // of the last request that used nonce
	clear           []byte   // scratch: what is hashed
}

const cnonce = "0a4f113b"

func (c *credentials) identify(user string, t Target) {
	c.username, c.realm = user, t.Domain
	c.ha1 = md5Hex([]byte(user + ":" + t.Domain + ":" + t.Password))
}

// subject is what credentials are shown for.
type subject struct {
	header string // that they stand in
	uri    string
	ha2    [32]byte // of method and URI, hexadecimal
}

func newSubject(header, method, uri string) subject {
	return subject{header: header, uri: uri, ha2: md5Hex([]byte(method + ":" + uri))}
}

func md5Hex(b []byte) (text [32]byte) {
	sum := md5.Sum(b)
	hex.Encode(text[:], sum[:])
	return text
}

// challenged takes the nonce of the one MD5 challenge among those received.
func (c *credentials) challenged(m *message) bool {
	for _, challenge := range m.challenge.all() {
		algorithm := parameter(challenge, "algorithm")
		if algorithm != nil && string(algorithm) != "MD5" {
			continue
		}
		nonce := parameter(challenge, "nonce")
		if string(parameter(challenge, "realm")) != c.realm || len(nonce) == 0 || len(parameter(challenge, "qop")) == 0 {
			return false
		}
		c.nonce = append([]byte(nil), nonce...)
		c.nc = 0
		return true
	}
	return false
}

// authorize appends a line with credentials for s and the next nonce count.
func (c *credentials) authorize(dst []byte, s *subject) []byte {
	c.nc++
	var nc [8]byte
	putHex(nc[:], c.nc)
	b := append(c.clear[:0], c.ha1[:]...)
	b = append(append(b, ':'), c.nonce...)
	b = append(append(b, ':'), nc[:]...)
	b = append(b, ":"+cnonce+":auth:"...)
	b = append(b, s.ha2[:]...)
	c.clear = b
	response := md5Hex(b)
	dst = append(dst, s.header...)
	dst = append(dst, `: Digest algorithm=MD5, username="`...)
	dst = append(dst, c.username...)
	dst = append(dst, `", realm="`...)
	dst = append(dst, c.realm...)
	dst = append(dst, `", nonce="`...)
	dst = append(dst, c.nonce...)
	dst = append(dst, `", uri="`...)
	dst = append(dst, s.uri...)
	dst = append(dst, `", response="`...)
	dst = append(dst, response[:]...)
	dst = append(dst, `", qop=auth, cnonce="`+cnonce+`", nc=`...)
	dst = append(dst, nc[:]...)
	return append(dst, "\r\n"...)
}
