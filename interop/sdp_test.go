package interop

import (
	"fmt"
	"regexp"
)

// The phones that are not browsers have no media of their own: these session
// descriptions are what a browser and a desk phone accept, and no packet is
// ever sent for them.

// plainSDP is a desk phone's offer or answer: G.711 over plain RTP.
const plainSDP = "v=0\r\n" +
	"o=- 1 1 IN IP4 127.0.0.1\r\n" +
	"s=-\r\n" +
	"c=IN IP4 127.0.0.1\r\n" +
	"t=0 0\r\n" +
	"m=audio 9 RTP/AVP 0\r\n" +
	"a=rtpmap:0 PCMU/8000\r\n" +
	"a=sendrecv\r\n"

// webSDP is what a browser takes: ICE credentials, a DTLS fingerprint, rtcp-mux
// (RFC 8829 §5.3.1) and the media identification that it gave itself. The
// fingerprint is nobody's.
func webSDP(mid, setup string) string {
	return fmt.Sprintf("v=0\r\n"+
		"o=- 1 1 IN IP4 127.0.0.1\r\n"+
		"s=-\r\n"+
		"t=0 0\r\n"+
		"a=group:BUNDLE %[1]s\r\n"+
		"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"+
		"c=IN IP4 127.0.0.1\r\n"+
		"a=mid:%[1]s\r\n"+
		"a=rtcp-mux\r\n"+
		"a=ice-ufrag:desk\r\n"+
		"a=ice-pwd:deskdeskdeskdeskdeskdesk\r\n"+
		"a=fingerprint:sha-256 "+
		"00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:"+
		"10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n"+
		"a=setup:%[2]s\r\n"+
		"a=rtpmap:0 PCMU/8000\r\n"+
		"a=sendrecv\r\n", mid, setup)
}

var (
	overDTLS = regexp.MustCompile(`(?m)^m=audio \d+ UDP/TLS/RTP/SAVPF? `)
	mediaID  = regexp.MustCompile(`(?m)^a=mid:(\S+)`)
)

// answerSDP answers an offer in its own kind.
func answerSDP(offer []byte) string {
	if !overDTLS.Match(offer) {
		return plainSDP
	}
	mid := "0"
	if m := mediaID.FindSubmatch(offer); m != nil {
		mid = string(m[1])
	}
	return webSDP(mid, "active")
}
