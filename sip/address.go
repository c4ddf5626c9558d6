package sip

import (
	"strconv"
	"strings"
)

// Address is a name-addr or addr-spec with its parameters (RFC 3261 §20.10): the value of
// From, To, Contact, Route and their like. Its fields are as written.
type Address struct {
	// Display is the display name, in its quotes where it has them.
	Display string
	// URI is what stands between the angle brackets, or the bare URI.
	URI string
	// Params are the header field's parameters, not the URI's.
	Params Params
}

// Tag returns the tag parameter, "" where there is none.
func (a Address) Tag() string {
	tag, _ := a.Params.Get("tag")
	return tag
}

// String writes the address in the name-addr form.
func (a Address) String() string {
	s := a.Display
	if s != "" {
		s += " "
	}
	return s + "<" + a.URI + ">" + string(a.Params)
}

// ParseAddress reads one address. A display name may hold anything in quotes; outside
// them it may hold what is no token (phones write names with brackets and in UTF-8), but
// no quote and no comma, at which the next hop might split it.
func ParseAddress(s string) (Address, error) {
	var a Address
	_, err := a.parse(trimSpace(s))
	return a, err
}

// parse reads an address, which has no white space around it, and returns the tag among
// its parameters.
func (a *Address) parse(s string) (tag string, err error) {
	*a = Address{}
	behind, err := a.parseURI(s)
	if err != nil {
		return "", err
	}
	if behind = skipSpace(s, behind); behind == len(s) {
		return "", nil
	}
	params := s[behind:]
	a.Params = Params(params)
	if rest, ok := strings.CutPrefix(params, ";tag="); ok && isAll(rest, tokenChar) {
		return rest, nil // a tag and nothing else, as nearly always
	}
	if tag, err = parseParams(params); err != nil {
		se := err.(*syntaxError)
		return "", badValue(se.reason, behind+se.at)
	}
	return tag, nil
}

// decode is parse, by parsePlain where that can.
func (a *Address) decode(s string) (tag string, err error) {
	if tag, ok := a.parsePlain(s); ok {
		return tag, nil
	}
	return a.parse(s)
}

// parsePlain reads an address of the form that nearly all have, at less than half of what
// parse costs: a display name that is one token or a quoted string without escapes, a URI
// in angle brackets, a tag, and no white space but a space before the brackets. It
// returns false for any other, and leaves in a what it has read so far.
func (a *Address) parsePlain(s string) (tag string, ok bool) {
	display := plainDisplay(s)
	open := display
	if display > 0 && display < len(s) && s[display] == ' ' {
		open++
	}
	if open == len(s) || s[open] != '<' {
		return "", false
	}
	end := open + strings.IndexByte(s[open:], '>')
	if end <= open+1 || isSpace(s[open+1]) || isSpace(s[end-1]) {
		return "", false
	}
	a.Display, a.URI, a.Params = s[:display], s[open+1:end], Params(s[end+1:])
	if a.Params == "" {
		return "", true
	}
	tag, ok = strings.CutPrefix(string(a.Params), ";tag=")
	return tag, ok && tag != "" && skip(tag, 0, tokenChar) == len(tag)
}

// plainDisplay returns the length of the token, or the quoted string without escapes, that s
// begins with.
func plainDisplay(s string) int {
	if s == "" || s[0] != '"' {
		return skip(s, 0, tokenChar)
	}
	for i := 1; i < len(s) && s[i] != '\\'; i++ {
		if s[i] == '"' {
			return i + 1
		}
	}
	return 0
}

// parseURI reads display name and URI and returns the index behind them. Outside quotes, a
// '<' can stand only before a ':' or ';' if it begins the URI of a name-addr.
func (a *Address) parseURI(s string) (int, error) {
	for i := range len(s) {
		switch s[i] {
		case '<':
			return a.parseNameAddr(s, i)
		case ':', ';':
			return a.parseAddrSpec(s)
		case '"':
			if i == 0 {
				return a.parseQuoted(s)
			}
			return i, badValue("display name needs quotes", i)
		case ',':
			return i, badValue("display name needs quotes", i)
		}
	}
	return 0, badValue("no URI", 0)
}

// parseQuoted reads a display name in quotes and the URI behind it.
func (a *Address) parseQuoted(s string) (int, error) {
	end := quotedEnd(s, 0)
	if end < 0 {
		return 0, badValue("quoted string does not end", 0)
	}
	open := skipSpace(s, end)
	if open == len(s) || s[open] != '<' {
		return open, badValue("no < behind the display name", open)
	}
	return a.parseNameAddr(s, open)
}

// parseNameAddr reads a URI in angle brackets, the first of which is s[open].
func (a *Address) parseNameAddr(s string, open int) (int, error) {
	length := strings.IndexByte(s[open:], '>')
	if length < 0 {
		return open, badValue("no > behind the URI", open)
	}
	if a.URI = trimSpace(s[open+1 : open+length]); a.URI == "" {
		return open, badValue("empty URI", open)
	}
	a.Display = trimSpace(s[:open])
	return open + length + 1, nil
}

// parseAddrSpec reads a bare URI. The parameters behind it are the header field's, and
// neither '?' nor a comma can stand in it (RFC 3261 §20).
func (a *Address) parseAddrSpec(s string) (int, error) {
	end := 0
	for end < len(s) && classes[s[end]]&bareChar != 0 {
		end++
	}
	a.URI = s[:end]
	if behind := skipSpace(s, end); behind < len(s) && s[behind] != ';' {
		return behind, badValue("URI needs angle brackets", behind)
	}
	if strings.IndexByte(a.URI, ':') <= 0 {
		return 0, badValue("URI without a scheme", 0)
	}
	return end, nil
}

// Contact is a value of the Contact header field (RFC 3261 §20.10).
type Contact struct {
	Address
	// Star says that the value is "*", the wildcard of REGISTER; all else is then empty.
	Star bool
}

// Expires returns the expires parameter in seconds. A value above 2^32-1 counts as that
// (RFC 3261 §20.19); one that is no number counts as 3600, as RFC 3261 §10.2.1.1 asks. ok
// is false where there is no such parameter.
func (c Contact) Expires() (seconds uint32, ok bool) {
	v, ok := c.Params.Get("expires")
	if !ok {
		return 0, false
	}
	if seconds, err := parseSeconds(v); err == nil {
		return seconds, true
	}
	return 3600, true
}

// Q returns the q parameter in thousandths, 1000 where there is none or it is no number
// from 0 to 1 with at most three decimals (RFC 3261 §25.1, qvalue).
func (c Contact) Q() int {
	v, ok := c.Params.Get("q")
	if !ok || v == "" || len(v) > 5 {
		return 1000
	}
	whole, decimals, _ := strings.Cut(v, ".")
	n, err := strconv.Atoi(whole + (decimals + "000")[:3])
	if err != nil || whole == "" || n < 0 || n > 1000 {
		return 1000
	}
	return n
}

// Instance returns the +sip.instance parameter with its angle brackets, "" for none
// (RFC 5626 §4.1).
func (c Contact) Instance() string {
	v, _ := c.Params.Get("+sip.instance")
	return v
}

// RegID returns the reg-id parameter, 0 for none (RFC 5626 §4.2). A value that is no
// number from 1 to 2^31-1 counts as none.
func (c Contact) RegID() int {
	v, _ := c.Params.Get("reg-id")
	n, _ := parseUint(v, 1<<31-1)
	return int(n)
}
