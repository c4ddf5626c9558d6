package digest

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// ErrScheme says that a header value holds credentials of another scheme, such as Bearer.
var ErrScheme = errors.New("not Digest credentials")

// Credentials is the value of an Authorization or Proxy-Authorization header field
// (RFC 3261 §20.7, RFC 7616 §3.4). Strings are without their quotes and escapes, and are
// substrings of the parsed value unless an escape had to be removed. A parameter that is absent
// is "".
type Credentials struct {
	Username, Realm, Nonce, URI, Response string
	QOP, CNonce, NC                       string
	Opaque                                string

	// Algorithm is zero if the parameter names one that is not supported; AlgorithmName has
	// the name as sent. An absent parameter means MD5 (RFC 7616 §3.3).
	Algorithm     Algorithm
	AlgorithmName string
}

// The known parameters, as bits of the set of those already seen.
const (
	pUsername = 1 << iota
	pRealm
	pNonce
	pURI
	pResponse
	pQOP
	pCNonce
	pNC
	pOpaque
	pAlgorithm

	pRequired = pUsername | pRealm | pNonce | pURI | pResponse
)

// Find returns the first Digest credentials for realm among the values of all the request's
// Authorization or all its Proxy-Authorization lines; a line is one value, never a list
// (RFC 3261 §7.3.1). Credentials for other realms and of other schemes are somebody else's and
// passed over, and so is a value without nonce or response, which a client may send before it
// was challenged (RFC 8760 §2.7). The error says why a value could not be read; its text may be
// shown to the client. It is returned only if there is no other value for the realm.
func Find(values iter.Seq[string], realm string) (c Credentials, found bool, err error) {
	for v := range values {
		perr := c.parse(v)
		switch {
		case perr != nil:
			if err == nil && perr != ErrScheme {
				err = perr
			}
		case c.Realm == realm && c.Nonce != "" && c.Response != "":
			return c, true, nil
		}
	}
	return Credentials{}, false, err
}

// ParseCredentials reads a header value. Parameters come in any order and case, names that are
// not known are ignored, and either form of value, token or quoted string, is taken for each
// parameter, because clients mix them up. A known parameter that comes twice is an error: the
// two readers of such a message might each believe another one.
func ParseCredentials(value string) (Credentials, error) {
	var c Credentials
	if err := c.parse(value); err != nil {
		return Credentials{}, err
	}
	return c, nil
}

func (c *Credentials) parse(value string) error {
	s := scanner{rest: value}
	scheme := s.token()
	if !strings.EqualFold(scheme, "Digest") || s.rest != "" && !isSpace(s.rest[0]) {
		return ErrScheme
	}
	*c = Credentials{Algorithm: MD5}
	var seen uint
	for s.next() {
		name, val, err := s.param()
		if err != nil {
			return err
		}
		bit := c.set(name, val)
		if seen&bit != 0 {
			return fmt.Errorf("parameter %s twice", strings.ToLower(name))
		}
		seen |= bit
	}
	if missing := pRequired &^ seen; missing != 0 {
		return fmt.Errorf("parameter %s missing", requiredName(missing))
	}
	return nil
}

// set stores a parameter and returns its bit, 0 for an unknown one.
func (c *Credentials) set(name, val string) uint {
	bit := paramBit(name)
	if bit == 0 {
		bit = paramBit(strings.ToLower(name))
	}
	switch bit {
	case pUsername:
		c.Username = val
	case pRealm:
		c.Realm = val
	case pNonce:
		c.Nonce = val
	case pURI:
		c.URI = val
	case pResponse:
		c.Response = val
	case pQOP:
		c.QOP = val
	case pCNonce:
		c.CNonce = val
	case pNC:
		c.NC = val
	case pOpaque:
		c.Opaque = val
	case pAlgorithm:
		c.AlgorithmName = val
		c.Algorithm, _ = ParseAlgorithm(val)
	}
	return bit
}

func paramBit(name string) uint {
	switch name {
	case "username":
		return pUsername
	case "realm":
		return pRealm
	case "nonce":
		return pNonce
	case "uri":
		return pURI
	case "response":
		return pResponse
	case "qop":
		return pQOP
	case "cnonce":
		return pCNonce
	case "nc":
		return pNC
	case "opaque":
		return pOpaque
	case "algorithm":
		return pAlgorithm
	}
	return 0
}

// requiredName names one of the required parameters that are missing.
func requiredName(missing uint) string {
	for _, name := range []string{"username", "realm", "nonce", "uri", "response"} {
		if missing&paramBit(name) != 0 {
			return name
		}
	}
	return ""
}

// scanner walks over the comma-separated parameters of a header value.
type scanner struct{ rest string }

// next skips to the next parameter and reports whether there is one. Empty list elements are
// passed over.
func (s *scanner) next() bool {
	for s.rest != "" && (s.rest[0] == ',' || isSpace(s.rest[0])) {
		s.rest = s.rest[1:]
	}
	return s.rest != ""
}

// param reads name=value and requires a comma or the end behind it.
func (s *scanner) param() (name, val string, err error) {
	name = s.token()
	s.space()
	if name == "" || s.rest == "" || s.rest[0] != '=' {
		return "", "", errors.New("parameter without a value")
	}
	s.rest = s.rest[1:]
	s.space()
	if s.rest != "" && s.rest[0] == '"' {
		var ok bool
		if val, ok = s.quoted(); !ok {
			return "", "", errors.New("quoted string without its end")
		}
	} else {
		val = s.token()
	}
	s.space()
	if s.rest != "" && s.rest[0] != ',' {
		return "", "", errors.New("parameters not separated by a comma")
	}
	return name, val, nil
}

// token reads up to a separator of parameters. It is wider than RFC 3261's token, so that
// unquoted values with a slash or a colon are read as what they were meant to be.
func (s *scanner) token() string {
	i := 0
	for i < len(s.rest) && !delimiter[s.rest[i]] {
		i++
	}
	tok := s.rest[:i]
	s.rest = s.rest[i:]
	return tok
}

// quoted reads a quoted string that begins here and removes its escapes (RFC 3261 §25.1).
func (s *scanner) quoted() (string, bool) {
	body := s.rest[1:]
	i := strings.IndexByte(body, '"')
	if i < 0 {
		return "", false
	}
	escape := strings.IndexByte(body[:i], '\\')
	if escape < 0 {
		s.rest = body[i+1:]
		return body[:i], true
	}
	var b strings.Builder
	b.WriteString(body[:escape])
	for i = escape; i < len(body); i++ {
		switch body[i] {
		case '"':
			s.rest = body[i+1:]
			return b.String(), true
		case '\\':
			if i++; i == len(body) {
				return "", false
			}
		}
		b.WriteByte(body[i])
	}
	return "", false
}

func (s *scanner) space() {
	for s.rest != "" && isSpace(s.rest[0]) {
		s.rest = s.rest[1:]
	}
}

// delimiter holds the characters that end a token.
var delimiter = [256]bool{' ': true, '\t': true, '\r': true, '\n': true, ',': true, '=': true, '"': true}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
