//go:build race

package sip

// retire makes a message that was released one that shows wherever it is used, and
// the strings of its edited lines with it.
func (m *Message) retire() {
	if m.startEnd == releasedEnd {
		panic("sip: message released twice")
	}
	for i := range m.edit {
		m.edit[i] = '!'
	}
	m.reset("")
	m.edit = nil
	m.method, m.uri, m.callID, m.reason = "RELEASED", "released:", "released", "Released"
	m.via = Via{Transport: "RELEASED", Host: "released", RPort: -1}
	m.startEnd = releasedEnd
}
