package sip

import (
	"net/netip"
	"strings"
)

// Via is a value of the Via header field (RFC 3261 §20.42).
type Via struct {
	// Transport is the transport's name as written, "UDP" or a name sipway does not know.
	Transport string
	// Host and Port are the sent-by; Host has its brackets where it is an IPv6 reference,
	// Port is 0 where none is written.
	Host string
	Port uint16
	// Params are all parameters as written; the fields below are among them.
	Params Params

	Branch   string
	Received string
	// RPort is -1 where there is no rport parameter, 0 where it has no value yet
	// (RFC 3581 §3).
	RPort int
}

// magicCookie begins the branch of every transaction that follows RFC 3261 (§8.1.1.7).
const magicCookie = "z9hG4bK"

// HasMagicCookie reports whether the branch identifies a transaction by itself; where it
// does not, the sender follows RFC 2543. The cookie is compared in any case, as a peer that
// writes it in another is as able to make branches unique.
func (v *Via) HasMagicCookie() bool {
	return len(v.Branch) > len(magicCookie) && equalFold(v.Branch[:len(magicCookie)], magicCookie)
}

// SentBy returns host and port as written.
func (v *Via) SentBy() string {
	if v.Port == 0 {
		return v.Host
	}
	return string(v.appendSentBy(nil))
}

func (v *Via) appendSentBy(b []byte) []byte {
	b = append(b, v.Host...)
	if v.Port != 0 {
		b = appendUint(append(b, ':'), uint64(v.Port))
	}
	return b
}

// append writes the value.
func (v *Via) append(b []byte) []byte { return v.appendParams(v.appendSender(b)) }

func (v *Via) appendSender(b []byte) []byte {
	b = append(append(append(b, "SIP/2.0/"...), v.Transport...), ' ')
	return v.appendSentBy(b)
}

// appendParams writes what Params holds; the fields that mirror a parameter are written
// only where Params does not have them.
func (v *Via) appendParams(b []byte) []byte {
	if v.Branch != "" && (v.Params == "" || !v.Params.Has("branch")) {
		b = append(append(b, ";branch="...), v.Branch...)
	}
	if v.RPort == 0 && (v.Params == "" || !v.Params.Has("rport")) {
		b = append(b, ";rport"...)
	}
	return append(b, v.Params...)
}

// String writes the value.
func (v *Via) String() string { return string(v.append(nil)) }

// ParseVia reads one Via value.
func ParseVia(s string) (Via, error) {
	var v Via
	element, _, more := nextElement(s)
	err := v.parse(element)
	if err == nil && more {
		err = badValue("more than one value", len(element))
	}
	return v, err
}

// parse reads one value, which has no white space around it. It is strict, because who
// gets the response hangs on it. With a fault in the parameters or the version it leaves
// in v what names the sender, so that the fault can be answered; with any other, nothing.
func (v *Via) parse(s string) error {
	*v = Via{RPort: -1}
	i := len(viaStart)
	var unknown error
	if len(s) <= i || s[:i] != viaStart || isSpace(s[i]) {
		if i, unknown = viaProtocol(s); i == 0 {
			return unknown
		}
	}
	start := i
	i = skip(s, i, tokenChar)
	if i == start || i == len(s) || !isSpace(s[i]) {
		return badValue("no transport", start)
	}
	transport := s[start:i]
	i, err := v.parseSentBy(s, skipSpace(s, i))
	if err != nil {
		return err
	}
	v.Transport = transport
	if i < len(s) {
		if err = v.parseParams(s, skipSpace(s, i)); err != nil {
			*v = Via{Transport: transport, Host: v.Host, Port: v.Port, RPort: v.RPort}
		}
	}
	if unknown != nil {
		return unknown
	}
	return err
}

const viaStart = version + "/"

// decode reads the first value of a line, by parsePlain where that can.
func (v *Via) decode(list string) error {
	if v.parsePlain(list) {
		return nil
	}
	element, _, _ := nextElement(list)
	return v.parse(element)
}

// What a Via and its usual parameters begin with.
var (
	viaWord    = word(viaStart, 0)
	branchWord = word(";branch=", 0)
	rportWord  = word(";rport"+padding, 0)
)

// parsePlain reads the first value of a line if it is of the form that nearly all have, at
// less than half of what parse costs: the host is no IPv6 reference, there are no quotes, and
// no white space but spaces before the host. It returns false for any other, and leaves in v
// what it has read so far.
func (v *Via) parsePlain(s string) bool {
	if len(s) < len(viaStart) || word(s, 0) != viaWord {
		return false
	}
	space := skip(s, len(viaStart), tokenChar)
	host := space
	for host < len(s) && s[host] == ' ' {
		host++
	}
	if space == len(viaStart) || host == space {
		return false
	}
	end := skip(s, host, hostChar)
	if end == host || end-host > maxHost {
		return false
	}
	v.Transport, v.Host, v.Port = s[len(viaStart):space], s[host:end], 0
	if end < len(s) && s[end] == ':' {
		start := end + 1
		end = skip(s, start, digitChar)
		port, _ := parseUint(s[start:end], 65535)
		if v.Port = uint16(port); port == 0 {
			return false
		}
	}
	v.Branch, v.Received, v.RPort = "", "", -1
	params := end
	for end < len(s) && s[end] != ',' {
		if s[end] != ';' {
			return false
		}
		switch w := wordAt(s, end); {
		case w == branchWord:
			start := end + len(";branch=")
			if end = skip(s, start, tokenChar); end == start {
				return false
			}
			v.Branch = s[start:end]
		case w<<16 == rportWord<<16 && byte(w>>48) != '=':
			v.RPort = 0
			end += len(";rport")
		default:
			var name, value string
			var ok bool
			if name, value, end, ok = plainParam(s, end); !ok || !v.set(name, value) {
				return false
			}
		}
	}
	v.Params = Params(s[params:end])
	return true
}

// viaProtocol passes over "SIP/2.0/", in which white space may stand (RFC 3261 §25.1,
// SLASH), and returns the index behind it. With an error it is 0, unless only the version
// is unknown.
func viaProtocol(s string) (i int, unknown error) {
	i = skipSpace(s, 0)
	for n, part := range [...]string{"SIP", "/", version[len("SIP/"):], "/"} {
		if len(s)-i >= len(part) && equalFold(s[i:i+len(part)], part) {
			i = skipSpace(s, i+len(part))
			continue
		}
		slash := strings.IndexByte(s[i:], '/')
		if n != 2 || slash < 0 {
			return 0, badValue("no SIP/2.0 protocol", i)
		}
		unknown = &Error{Status: 505, Header: "Via", Offset: i, Reason: "unknown SIP version"}
		i += slash
	}
	return i, unknown
}

// parseSentBy reads host and port.
func (v *Via) parseSentBy(s string, i int) (int, error) {
	start := i
	if i < len(s) && s[i] == '[' {
		end := strings.IndexByte(s[i:], ']')
		if end < 0 {
			return i, badValue("IPv6 reference does not end", i)
		}
		if i += end + 1; !validHost(s[start:i]) {
			return i, badValue("sent-by is no host", start)
		}
	} else if i = skip(s, i, hostChar); i == start || i-start > maxHost {
		return i, badValue("sent-by is no host", start)
	}
	v.Host = s[start:i]
	j := skipSpace(s, i)
	if j == len(s) || s[j] != ':' {
		return i, nil
	}
	start = skipSpace(s, j+1)
	i = skip(s, start, digitChar)
	port, ok := parseUint(s[start:i], 65535)
	if !ok || port == 0 {
		return i, badValue("sent-by has a bad port", start)
	}
	v.Port = uint16(port)
	return i, nil
}

// parseParams reads the parameters from s[i] on.
func (v *Via) parseParams(s string, i int) error {
	if s[i] != ';' {
		return badValue("text where a parameter should begin", i)
	}
	v.Params = Params(s[i:])
	for i < len(s) {
		at := i
		var name, value, reason string
		if name, value, i, reason = headerParam(s, i); reason != "" {
			return badValue(reason, at)
		}
		if !v.set(name, value) {
			return badValue("branch is no token", at)
		}
	}
	return nil
}

// set notes the value of a parameter that has a field; it returns false for a branch that is
// no token.
func (v *Via) set(name, value string) bool {
	switch len(name) {
	case len("rport"):
		if name == "rport" || equalFold(name, "rport") {
			port, _ := parseUint(value, 65535)
			v.RPort = int(port)
		}
	case len("branch"):
		if name == "branch" || equalFold(name, "branch") {
			v.Branch = value
			return isAll(value, tokenChar)
		}
	case len("received"):
		if name == "received" || equalFold(name, "received") {
			v.Received = value
		}
	}
	return true
}

// ReceivedAddr is the value of the received parameter: an address without brackets, which
// is how RFC 3261 §25.1 (via-received) has it; RFC 5118 §4.5 shows that both are met.
func (v *Via) ReceivedAddr() (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(v.Received, "[]"))
	return addr, err == nil
}
