// Package media reads what SDP bodies (RFC 8866) say of a call's media.
package media

import (
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

const (
	// maxStreams bounds the streams of one body that are described.
	maxStreams = 4

	// maxFormats bounds the formats of a stream among which a codec is sought, each of them in all
	// of its attributes.
	maxFormats = 16
)

// Describe returns the name of the codec that the first audio stream of an SDP body prefers,
// "opus", which in an answer is the one in use; and all of its streams in a line:
// "audio opus/48000/2 sendrecv UDP/TLS/RTP/SAVPF, video VP8/90000 sendrecv UDP/TLS/RTP/SAVPF".
// Streams of fax are left out, and both are empty for what can't be read.
func Describe(body []byte) (codec, summary string) {
	text := string(body)
	if !strings.HasSuffix(text, "\n") {
		text += "\r\n" // in a multipart body the last line's end is the boundary's (RFC 2046 §5.1.1)
	}
	var session sdp.SessionDescription
	if session.UnmarshalString(text) != nil {
		session = sdp.SessionDescription{}
		if session.UnmarshalString(withoutImages(text)) != nil {
			return "", ""
		}
	}
	var streams []string
	for _, m := range session.MediaDescriptions {
		if len(streams) == maxStreams {
			streams = append(streams, "...")
			break
		}
		name := encoding(m)
		if codec == "" && m.MediaName.Media == "audio" && m.MediaName.Port.Value != 0 {
			codec, _, _ = strings.Cut(name, "/")
		}
		streams = append(streams, describe(&session, m, name))
	}
	return codec, strings.Join(streams, ", ")
}

// withoutImages leaves out the streams of fax (T.38, RFC 3362), which gateways offer beside audio
// and the SDP package does not read.
func withoutImages(text string) string {
	var rest strings.Builder
	image := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "m=") {
			image = strings.HasPrefix(line, "m=image ")
		}
		if !image {
			rest.WriteString(line)
		}
	}
	return rest.String()
}

// describe describes one stream. One with port 0 was refused (RFC 3264 §6).
func describe(session *sdp.SessionDescription, m *sdp.MediaDescription, name string) string {
	words := []string{m.MediaName.Media}
	if name != "" {
		words = append(words, name)
	}
	if m.MediaName.Port.Value == 0 {
		return strings.Join(append(words, "refused"), " ")
	}
	return strings.Join(append(words, direction(session, m), strings.Join(m.MediaName.Protos, "/")), " ")
}

var directions = []string{"sendrecv", "sendonly", "recvonly", "inactive"}

// direction is that of the stream, else that of the session, else sendrecv (RFC 8866 §6.7).
func direction(session *sdp.SessionDescription, m *sdp.MediaDescription) string {
	for _, attributes := range [][]sdp.Attribute{m.Attributes, session.Attributes} {
		for _, a := range attributes {
			if slices.Contains(directions, a.Key) {
				return a.Key
			}
		}
	}
	return directions[0]
}

// static are the encodings that need no rtpmap (RFC 3551 §6), of those that telephones use.
var static = map[string]string{
	"0": "PCMU/8000", "3": "GSM/8000", "4": "G723/8000", "8": "PCMA/8000", "9": "G722/8000",
	"15": "G728/8000", "18": "G729/8000", "31": "H261/90000", "34": "H263/90000",
}

// encoding is the first format of an RTP stream that is a codec, by its name and clock rate.
func encoding(m *sdp.MediaDescription) string {
	if !slices.Contains(m.MediaName.Protos, "RTP") {
		return ""
	}
	formats := m.MediaName.Formats
	for _, payload := range formats[:min(len(formats), maxFormats)] {
		name := static[payload]
		for _, a := range m.Attributes {
			if format, text, _ := strings.Cut(a.Value, " "); a.Key == "rtpmap" && format == payload {
				name = strings.TrimSpace(text)
				break
			}
		}
		if !beside(payload, name) {
			return strings.Clone(clip(name))
		}
	}
	return ""
}

// beside reports whether a format only goes with a codec: keys (RFC 4733), comfort noise (RFC
// 3389). The order is the peer's, and not all of them name the codec first.
func beside(payload, name string) bool {
	kind, _, _ := strings.Cut(name, "/")
	return strings.EqualFold(kind, "telephone-event") || strings.EqualFold(kind, "CN") || payload == "13"
}

// clip bounds what a peer can make us keep. A real name has a dozen letters.
func clip(name string) string { return name[:min(len(name), 40)] }
