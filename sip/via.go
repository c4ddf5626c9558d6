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
	i := len("SIP/2.0/")
	var unknown error
	if len(s) <= i || s[:i] != "SIP/2.0/" || isSpace(s[i]) {
		if i, unknown = viaProtocol(s); i == 0 {
			return unknown
		}
	}
	start := i
	for i < len(s) && classes[s[i]]&tokenChar != 0 {
		i++
	}
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
	} else {
		for i < len(s) && classes[s[i]]&hostChar != 0 {
			i++
		}
		if i == start || i-start > maxHost {
			return i, badValue("sent-by is no host", start)
		}
	}
	v.Host = s[start:i]
	if j := skipSpace(s, i); j < len(s) && s[j] == ':' {
		j = skipSpace(s, j+1)
		start = j
		for j < len(s) && s[j]-'0' <= 9 {
			j++
		}
		port, ok := parseUint(s[start:j], 65535)
		if !ok || port == 0 {
			return j, badValue("sent-by has a bad port", start)
		}
		v.Port, i = uint16(port), j
	}
	return i, nil
}

// parseParams reads the parameters from s[i] on.
func (v *Via) parseParams(s string, i int) error {
	if s[i] != ';' {
		return badValue("text where a parameter should begin", i)
	}
	v.Params = Params(s[i:])
	for rest := s[i:]; rest != ""; {
		at := len(s) - len(rest)
		var name, value, reason string
		name, value, rest, reason = headerParam(rest)
		if reason != "" {
			return badValue(reason, at)
		}
		switch len(name) {
		case len("rport"):
			if equalFold(name, "rport") {
				port, _ := parseUint(value, 65535)
				v.RPort = int(port)
			}
		case len("branch"):
			if equalFold(name, "branch") {
				if v.Branch = value; !isAll(value, tokenChar) {
					return badValue("branch is no token", at)
				}
			}
		case len("received"):
			if equalFold(name, "received") {
				v.Received = value
			}
		}
	}
	return nil
}

// ReceivedAddr is the value of the received parameter: an address without brackets, which
// is how RFC 3261 §25.1 (via-received) has it; RFC 5118 §4.5 shows that both are met.
func (v *Via) ReceivedAddr() (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(v.Received, "[]"))
	return addr, err == nil
}
