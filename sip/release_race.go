//go:build race

package sip

// retire makes a message that was released one that shows wherever it is used.
func (m *Message) retire() {
	if m.startEnd == releasedEnd {
		panic("sip: message released twice")
	}
	m.reset("")
	m.method, m.uri, m.callID, m.reason = "RELEASED", "released:", "released", "Released"
	m.via = Via{Transport: "RELEASED", Host: "released", RPort: -1}
	m.startEnd = releasedEnd
}
