package media

import (
	"strings"
	"testing"
)

const session = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"

func TestDescribe(t *testing.T) {
	for name, c := range map[string]struct{ body, codec, summary string }{
		"browser": {
			"a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=sendrecv\r\n",
			"opus", "audio opus/48000/2 sendrecv UDP/TLS/RTP/SAVPF"},
		"desk phone without rtpmap":   {"m=audio 5004 RTP/AVP 8 0\r\n", "PCMA", "audio PCMA/8000 sendrecv RTP/AVP"},
		"without the last line's end": {"m=audio 5004 RTP/AVP 8\r\na=sendonly", "PCMA", "audio PCMA/8000 sendonly RTP/AVP"},
		"fax beside audio": {
			"m=image 5002 udptl t38\r\na=T38FaxVersion:0\r\na=inactive\r\nm=audio 5004 RTP/AVP 8\r\nm=image 0 udptl t38\r\n", "PCMA", "audio PCMA/8000 sendrecv RTP/AVP"},
		"fax alone": {"m=image 5002 udptl t38\r\n", "", ""},
		"on hold": {
			"m=audio 5004 RTP/AVP 0\r\na=sendonly\r\n", "PCMU", "audio PCMU/8000 sendonly RTP/AVP"},
		"on hold as a whole": {
			"a=inactive\r\nm=audio 5004 RTP/AVP 0\r\n", "PCMU", "audio PCMU/8000 inactive RTP/AVP"},
		"video refused": {
			"m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\nm=audio 5004 RTP/AVP 9\r\n",
			"G722", "video VP8/90000 refused, audio G722/8000 sendrecv RTP/AVP"},
		"audio refused": {"m=audio 0 RTP/AVP 0\r\n", "", "audio PCMU/8000 refused"},
		"unknown payload": {
			"m=audio 5004 RTP/AVP 101\r\n", "", "audio sendrecv RTP/AVP"},
		"keys and comfort noise first": {"m=audio 5004 RTP/AVP 101 13 0\r\na=rtpmap:101 telephone-event/8000\r\n", "PCMU", "audio PCMU/8000 sendrecv RTP/AVP"},
		"a codec behind a great many": {
			"m=audio 5004 RTP/AVP" + strings.Repeat(" 13", 16) + " 0\r\n", "", "audio sendrecv RTP/AVP"},
		"keys alone": {"m=audio 5004 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n", "", "audio sendrecv RTP/AVP"},

		"no RTP":   {"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", "", "application sendrecv UDP/DTLS/SCTP"},
		"no media": {"", "", ""},
		"a great many": {
			strings.Repeat("m=audio 5004 RTP/AVP 0\r\n", 100), "PCMU",
			strings.Repeat("audio PCMU/8000 sendrecv RTP/AVP, ", 4) + "..."},
	} {
		t.Run(name, func(t *testing.T) {
			if codec, summary := Describe([]byte(session + c.body)); codec != c.codec || summary != c.summary {
				t.Errorf("%q, %q", codec, summary)
			}
		})
	}
	if codec, summary := Describe([]byte("nonsense")); codec+summary != "" {
		t.Errorf("%q, %q", codec, summary)
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte(session + "m=audio 5004 RTP/AVP 0\r\n"))
	f.Add([]byte("v=0\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, summary := Describe(body); len(summary) > 2000+len(body) {
			t.Errorf("%d bytes", len(summary))
		}
	})
}

func BenchmarkDescribe(b *testing.B) {
	body := []byte(session + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n" +
		strings.Repeat("a=candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host generation 0\r\n", 20))
	b.ReportAllocs()
	for b.Loop() {
		Describe(body)
	}
}
