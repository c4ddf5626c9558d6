//go:build linux

package load

import (
	"fmt"
	"strings"
)

// offer and answer are the session descriptions of an agent. Both servers
// must pass them through unread.
func (a *agent) offer() []byte  { return a.description("actpass") }
func (a *agent) answer() []byte { return a.description("active") }

func (a *agent) description(setup string) []byte {
	if a.transport == WS {
		return browserSDP(a.index, setup)
	}
	return deskSDP(a.index)
}

func bodyHeaders(body []byte) string {
	return fmt.Sprintf("Content-Type: application/sdp\nContent-Length: %d\n\n", len(body))
}

// deskSDP is what a phone with three codecs offers, about 300 bytes.
func deskSDP(n int) []byte {
	return []byte(strings.ReplaceAll(fmt.Sprintf(`v=0
o=phone %d 1 IN IP4 127.0.0.1
s=call
c=IN IP4 127.0.0.1
t=0 0
m=audio %d RTP/AVP 9 8 0 101
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=maxptime:60
a=rtcp:%d IN IP4 127.0.0.1
a=sendrecv
`, 1000000000+n, 20000+2*(n%1000), 20001+2*(n%1000)), "\n", "\r\n"))
}

// browserSDP is an audio offer as browsers make it on a machine with several
// addresses: ICE, DTLS-SRTP, BUNDLE, header extensions; about 2.2 kB.
func browserSDP(n int, setup string) []byte {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\r\n")
	}
	stream := fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n)
	port := 40000 + n%10000
	line("v=0")
	line("o=- %d 2 IN IP4 127.0.0.1", 4611732000000000000+n)
	line("s=-")
	line("t=0 0")
	line("a=group:BUNDLE 0")
	line("a=extmap-allow-mixed")
	line("a=msid-semantic: WMS %s", stream)
	line("m=audio %d UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", port)
	line("c=IN IP4 192.0.2.17")
	line("a=rtcp:9 IN IP4 0.0.0.0")
	for i, address := range []string{"192.0.2.17", "198.51.100.9", "2001:db8::17", "fd00::17"} {
		line("a=candidate:%d 1 udp %d %s %d typ host generation 0 network-id %d network-cost 50",
			1800000000+i*7919, 2122260223-i*65536, address, port+i, i+1)
		line("a=candidate:%d 1 tcp %d %s 9 typ host tcptype active generation 0 network-id %d network-cost 50",
			3600000000+i*7919, 1518280447-i*65536, address, i+1)
	}
	line("a=candidate:842163049 1 udp 1686052607 203.0.113.5 %d typ srflx raddr 192.0.2.17 rport %d generation 0 network-id 1", port, port)
	line("a=ice-ufrag:%04x", n&0xffff)
	line("a=ice-pwd:%024x", n)
	line("a=ice-options:trickle")
	line("a=fingerprint:sha-256 %s3B:A9", strings.Repeat("5E:0C:71:D2:94:", 6))
	line("a=setup:%s", setup)
	line("a=mid:0")
	line("a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level")
	line("a=extmap:2 urn:ietf:params:rtp-hdrext:toffset")
	line("a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid")
	line("a=sendrecv")
	line("a=msid:%s audio-%d", stream, n)
	line("a=rtcp-mux")
	line("a=rtcp-rsize")
	for _, codec := range []string{
		"111 opus/48000/2", "63 red/48000/2", "9 G722/8000", "0 PCMU/8000",
		"8 PCMA/8000", "13 CN/8000", "110 telephone-event/48000", "126 telephone-event/8000",
	} {
		line("a=rtpmap:%s", codec)
	}
	line("a=rtcp-fb:111 transport-cc")
	line("a=fmtp:111 minptime=10;useinbandfec=1")
	line("a=fmtp:63 111/111")
	line("a=ssrc:%d cname:%016x", 1000000000+n, n)
	line("a=ssrc:%d msid:%s audio-%d", 1000000000+n, stream, n)
	return []byte(b.String())
}
