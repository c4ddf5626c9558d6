package sip

// HeaderID names a header field that sipway knows; every other is carried under its own
// name. The zero value is an unknown header field.
type HeaderID uint8

// The header fields that a registrar, a proxy or the tools around them touch.
const (
	HUnknown HeaderID = iota
	HVia
	HFrom
	HTo
	HCallID
	HCSeq
	HMaxForwards
	HContentLength
	HContact
	HRoute
	HRecordRoute
	HPath
	HServiceRoute
	HExpires
	HMinExpires
	HRequire
	HProxyRequire
	HSupported
	HUnsupported
	HAllow
	HAllowEvents
	HAccept
	HAcceptEncoding
	HAcceptLanguage
	HAuthorization
	HWWWAuthenticate
	HProxyAuthorization
	HProxyAuthenticate
	HAuthenticationInfo
	HContentType
	HContentEncoding
	HContentDisposition
	HEvent
	HSubscriptionState
	HReferTo
	HReferredBy
	HReplaces
	HReason
	HPAssertedIdentity
	HPPreferredIdentity
	HPrivacy
	HSessionExpires
	HMinSE
	HUserAgent
	HServer
	HWarning
	HRetryAfter
	HFlowTimer
	HRSeq
	HRAck
	HDate
	HTimestamp
	HSubject
	HPriority
	HRequestDisposition
	HMaxBreadth
	HIdentity
	HSIPETag
	HSIPIfMatch
	headerIDs // the number of them
)

// lastEager is the last of the header fields that Parse decodes; they come first.
const lastEager = HContentLength

// headerInfo describes a header field: its canonical spelling, its compact form (RFC 3261
// §7.3.3), and whether it may stand only once or as a list of comma-separated values.
type headerInfo struct {
	name    string
	compact byte
	kind    headerKind
}

type headerKind uint8

const (
	repeated headerKind = iota // may stand more than once, but a comma does not separate values
	list                       // a comma separates values, as a further line does (RFC 3261 §7.3.1)
	single                     // a second one makes the message ambiguous
)

var headers = [headerIDs]headerInfo{
	HVia:                {"Via", 'v', list},
	HFrom:               {"From", 'f', single},
	HTo:                 {"To", 't', single},
	HCallID:             {"Call-ID", 'i', single},
	HCSeq:               {"CSeq", 0, single},
	HMaxForwards:        {"Max-Forwards", 0, single},
	HContentLength:      {"Content-Length", 'l', single},
	HContact:            {"Contact", 'm', list},
	HRoute:              {"Route", 0, list},
	HRecordRoute:        {"Record-Route", 0, list},
	HPath:               {"Path", 0, list},
	HServiceRoute:       {"Service-Route", 0, list},
	HExpires:            {"Expires", 0, single},
	HMinExpires:         {"Min-Expires", 0, single},
	HRequire:            {"Require", 0, list},
	HProxyRequire:       {"Proxy-Require", 0, list},
	HSupported:          {"Supported", 'k', list},
	HUnsupported:        {"Unsupported", 0, list},
	HAllow:              {"Allow", 0, list},
	HAllowEvents:        {"Allow-Events", 'u', list},
	HAccept:             {"Accept", 0, list},
	HAcceptEncoding:     {"Accept-Encoding", 0, list},
	HAcceptLanguage:     {"Accept-Language", 0, list},
	HAuthorization:      {"Authorization", 0, repeated},
	HWWWAuthenticate:    {"WWW-Authenticate", 0, repeated},
	HProxyAuthorization: {"Proxy-Authorization", 0, repeated},
	HProxyAuthenticate:  {"Proxy-Authenticate", 0, repeated},
	HAuthenticationInfo: {"Authentication-Info", 0, repeated},
	HContentType:        {"Content-Type", 'c', single},
	HContentEncoding:    {"Content-Encoding", 'e', list},
	HContentDisposition: {"Content-Disposition", 0, single},
	HEvent:              {"Event", 'o', single},
	HSubscriptionState:  {"Subscription-State", 0, single},
	HReferTo:            {"Refer-To", 'r', single},
	HReferredBy:         {"Referred-By", 'b', single},
	HReplaces:           {"Replaces", 0, single},
	HReason:             {"Reason", 0, list},
	HPAssertedIdentity:  {"P-Asserted-Identity", 0, list},
	HPPreferredIdentity: {"P-Preferred-Identity", 0, list},
	HPrivacy:            {"Privacy", 0, repeated},
	HSessionExpires:     {"Session-Expires", 'x', single},
	HMinSE:              {"Min-SE", 0, single},
	HUserAgent:          {"User-Agent", 0, repeated},
	HServer:             {"Server", 0, repeated},
	HWarning:            {"Warning", 0, list},
	HRetryAfter:         {"Retry-After", 0, single},
	HFlowTimer:          {"Flow-Timer", 0, single},
	HRSeq:               {"RSeq", 0, single},
	HRAck:               {"RAck", 0, single},
	HDate:               {"Date", 0, repeated},
	HTimestamp:          {"Timestamp", 0, repeated},
	HSubject:            {"Subject", 's', repeated},
	HPriority:           {"Priority", 0, repeated},
	HRequestDisposition: {"Request-Disposition", 'd', list},
	HMaxBreadth:         {"Max-Breadth", 0, single},
	HIdentity:           {"Identity", 'y', repeated},
	HSIPETag:            {"SIP-ETag", 0, single},
	HSIPIfMatch:         {"SIP-If-Match", 0, single},
}

// String returns the header field's canonical spelling, "" for an unknown one.
func (id HeaderID) String() string {
	if id < headerIDs {
		return headers[id].name
	}
	return ""
}

// singles has the bit of every header field that may stand only once.
var singles = func() (mask uint64) {
	for id, h := range headers {
		if h.kind == single {
			mask |= 1 << id
		}
	}
	return mask
}()

// The bits of singles are those of a uint64; this fails to compile if they don't suffice.
var _ [64 - headerIDs]struct{}

// A name is looked up by its first and its last eight bytes, one after the other or one
// over the other: together they are the whole of a name of at most sixteen. A shorter name
// than eight has zeros behind it in first and none in last.
type nameWords struct{ first, last uint64 }

// wordsOf returns the words of a name.
func wordsOf(name string) nameWords {
	if len(name) < 8 {
		return nameWords{first: word(name+padding, 0) & (1<<(8*len(name)) - 1)}
	}
	return nameWords{word(name, 0), word(name, len(name)-8)}
}

// slot hashes a name without regard to case. The factor was chosen so that no two of the
// names of this file meet in a slot.
func (w nameWords) slot() uint8 {
	const blanks = 0x20 * ones
	return uint8(((w.first | blanks) + (w.last|blanks)*2) * 0x3f665edef10637cf >> 56)
}

// knownNames has the header fields by the hash of their names, compactIDs by their compact
// forms. A name of more than sixteen bytes is not known by its words alone: its length is left
// out, so that it is looked up in full.
var (
	knownNames = buildNames()
	compactIDs = buildCompactIDs()
)

type knownName struct {
	nameWords
	length uint8
	id     HeaderID
}

func buildNames() (names [256]knownName) {
	for id := HVia; id < headerIDs; id++ {
		name := headers[id].name
		words := wordsOf(name)
		known := knownName{words, uint8(len(name)), id}
		if len(name) > 16 {
			known.length = 0
		}
		names[words.slot()] = known
	}
	return names
}

func buildCompactIDs() (ids [256]HeaderID) {
	for id := HVia; id < headerIDs; id++ {
		if c := headers[id].compact; c != 0 {
			ids[c] = id
			ids[c-'a'+'A'] = id
		}
	}
	return ids
}

const padding = "        "

// LookupHeader returns the ID of a header field's name, long or compact, in any case.
func LookupHeader(name string) HeaderID {
	if len(name) == 1 {
		return compactIDs[name[0]]
	}
	if id := knownNames[wordsOf(name).slot()].id; equalFold(headers[id].name, name) {
		return id
	}
	return HUnknown
}
