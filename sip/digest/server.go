package digest

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says how a [Server] works.
type Config struct {
	// Key signs the nonces; at least 16 random bytes. Servers that share it accept each other's
	// nonces, though each keeps its own record of the nonce counts used.
	Key []byte

	// Algorithms to offer, most preferred first (RFC 8760 §2.3). Nil means SHA-256, then MD5:
	// web clients know only MD5 and take the last challenge they see, so MD5 has to come last.
	Algorithms []Algorithm

	// MaxAge is how long a nonce may be used. Longer ones save a client that reuses its nonce a
	// round trip; as counts are checked they are no easier to replay, except once after a restart.
	// 0 means an hour.
	MaxAge time.Duration

	// Integrity accepts the quality of protection "auth-int" besides "auth", for clients that
	// were offered it.
	Integrity bool

	// Nonces is how many used nonces are remembered, 24 bytes each, rounded up to a power of two.
	// A nonce that was used before so many others were issued has to be replaced by its client.
	// 0 means 65536.
	Nonces int
}

// Server writes challenges and judges their answers. It is safe for concurrent use.
type Server struct {
	algorithms []Algorithm
	maxAge     int64 // seconds
	integrity  bool
	minter     *minter
	replay     *replay
}

// Outcome is what became of a request's credentials.
type Outcome uint8

// The outcomes of an authentication.
const (
	NoCredentials Outcome = iota // challenge
	OK                           // the user is who it says
	Stale                        // right password, but the nonce can't be used: challenge with stale=true
	Denied                       // unknown user or wrong password: challenge, or refuse after too many
	BadRequest                   // not an answer to any of our challenges: 400 with the reason
)

func (o Outcome) String() string {
	names := [...]string{"no credentials", "ok", "stale", "denied", "bad request"}
	if int(o) < len(names) {
		return names[o]
	}
	return "outcome " + strconv.Itoa(int(o))
}

// Result is an outcome and why. The reason of BadRequest may be shown to the client, those of
// the others are for the log.
type Result struct {
	Outcome Outcome
	Reason  string

	// NextNonce is for the client to use from now on, because the one it used will soon be
	// too old: the value of nextnonce in an Authentication-Info (RFC 7616 §3.5), "" as long
	// as there is no need.
	NextNonce string
}

// Request is what the credentials have to fit to.
type Request struct {
	Method string
	URI    string // the Request-URI as received
	Realm  string
	Body   []byte // what "auth-int" protects
}

// New returns a server, or an error if the configuration can't be used.
func New(cfg Config) (*Server, error) {
	if len(cfg.Key) < 16 {
		return nil, errors.New("digest: key shorter than 16 bytes")
	}
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = []Algorithm{SHA256, MD5}
	}
	for i, a := range cfg.Algorithms {
		if a.String() == "" || slices.Contains(cfg.Algorithms[:i], a) {
			// RFC 8760 §2.3: challenges of one realm differ in their algorithm.
			return nil, fmt.Errorf("digest: algorithm %d of the list is unknown or there twice", i+1)
		}
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = time.Hour
	}
	if cfg.Nonces == 0 {
		cfg.Nonces = 1 << 16
	}
	if cfg.MaxAge < time.Second || cfg.Nonces < 0 || cfg.Nonces > 1<<30 {
		return nil, errors.New("digest: MaxAge or Nonces out of range")
	}
	return &Server{
		algorithms: slices.Clone(cfg.Algorithms),
		maxAge:     int64(cfg.MaxAge / time.Second),
		integrity:  cfg.Integrity,
		minter:     newMinter(slices.Clone(cfg.Key)),
		replay:     newReplay(cfg.Nonces),
	}, nil
}

// Challenges returns the values of the WWW-Authenticate or Proxy-Authenticate lines to send, one
// for each algorithm, in the order in which they have to stand. integrity offers "auth-int" too,
// where [Config.Integrity] accepts it; it is not for web clients, of which some choose it and
// then get it wrong.
func (s *Server) Challenges(realm string, stale, integrity bool) []string {
	nonce := s.minter.mint(realm)
	suffix := `, qop="auth"`
	if integrity && s.integrity {
		suffix = `, qop="auth,auth-int"`
	}
	if stale {
		suffix += ", stale=true"
	}
	values := make([]string, len(s.algorithms))
	for i, a := range s.algorithms {
		// RFC 8760 §2.6: qop is always there.
		values[i] = `Digest realm="` + quote(realm) + `", nonce="` + nonce + `", algorithm=` + a.String() + suffix
	}
	return values
}

// Verify judges credentials that [Find] returned for r.Realm. ha1 is the stored [HA1] of their
// user for their algorithm, "" if there is none; it then takes as long and ends as for a wrong
// password. A use of a nonce is noted only if the password was right, so nobody can use up the
// nonces of others.
func (s *Server) Verify(c *Credentials, r Request, ha1 string) Result {
	if reason := s.check(c, &r); reason != "" {
		return Result{Outcome: BadRequest, Reason: reason}
	}
	nc, ok := c.count()
	if !ok {
		return Result{Outcome: BadRequest, Reason: "nc is not a hexadecimal number"}
	}
	id, ours := s.minter.open(c.Nonce, r.Realm)
	if !c.proves(ha1, r.Method, r.Body) {
		return Result{Outcome: Denied, Reason: "unknown user or wrong password"}
	}
	// RFC 7616 §3.3: stale=true tells the client that its password was right and only the
	// nonce was not.
	switch age := s.minter.now() - id.issued(); {
	case !ours:
		return Result{Outcome: Stale, Reason: "nonce not issued here"}
	case age > s.maxAge || age < -s.maxAge:
		return Result{Outcome: Stale, Reason: "nonce too old"}
	case !s.replay.use(id, nc):
		return Result{Outcome: Stale, Reason: "nonce count used before"}
	case age > s.maxAge/2:
		return Result{Outcome: OK, NextNonce: s.minter.mint(r.Realm)}
	}
	return Result{Outcome: OK}
}

// check returns why the credentials can't be an answer to a challenge of ours, or "".
func (s *Server) check(c *Credentials, r *Request) string {
	switch {
	case c.Realm != r.Realm:
		return "realm not ours"
	case !slices.Contains(s.algorithms, c.Algorithm):
		return "algorithm not offered"
	case c.QOP != "" && !strings.EqualFold(c.QOP, "auth") && !(s.integrity && c.integrity()):
		return "qop not offered"
	case c.QOP != "" && c.CNonce == "":
		return "cnonce missing"
	case !sameTarget(c.URI, r.URI, r.Realm):
		return "uri does not fit the Request-URI"
	}
	return ""
}

// count returns the nonce count. Without qop there is none (RFC 2069, which RFC 3261 §22.4 wants
// accepted): the count is then 0, which lets a nonce be used once.
func (c *Credentials) count() (uint32, bool) {
	if c.QOP == "" {
		return 0, true
	}
	nc, err := strconv.ParseUint(c.NC, 16, 32)
	return uint32(nc), err == nil
}

// integrity reports whether the credentials cover the body.
func (c *Credentials) integrity() bool { return strings.EqualFold(c.QOP, "auth-int") }

// noHA1 stands in for the H(A1) of an unknown user.
const noHA1 = "0000000000000000000000000000000000000000000000000000000000000000"

// proves reports whether the response was computed with the password of ha1 (RFC 7616 §3.4.1).
// The comparison takes constant time, and so does everything for a ha1 that isn't there.
func (c *Credentials) proves(ha1, method string, body []byte) bool {
	size := c.Algorithm.hexSize()
	known := len(ha1) == size
	if !known {
		ha1 = noHA1[:size]
	}
	var space [512]byte
	buf := append(append(append(space[:0], method...), ':'), c.URI...)
	if c.integrity() { // RFC 7616 §3.4.3
		buf = c.Algorithm.appendHex(append(buf, ':'), body)
	}
	var a2 [2 * 32]byte
	ha2 := c.Algorithm.appendHex(a2[:0], buf)

	buf = append(append(append(buf[:0], ha1...), ':'), c.Nonce...)
	if c.QOP != "" {
		buf = append(append(buf, ':'), c.NC...)
		buf = append(append(buf, ':'), c.CNonce...)
		buf = append(append(buf, ':'), c.QOP...)
	}
	buf = append(append(buf, ':'), ha2...)
	var sum [2 * 32]byte
	want := c.Algorithm.appendHex(sum[:0], buf)

	if len(c.Response) != size {
		return false
	}
	got := append(space[:0], c.Response...)
	for i := range got {
		got[i] |= 'a' - 'A' // digits have that bit too; clients exist that send upper case
	}
	return subtle.ConstantTimeCompare(want, got) == 1 && known
}

// quote escapes what can't stand in a quoted string as it is.
func quote(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return s
	}
	return strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(s)
}
