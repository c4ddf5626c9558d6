//go:build !race

package sip

// retire lets the message's memory be used again.
func (m *Message) retire() {
	m.reset("")
	if cap(m.edit) > keptEdit {
		m.edit = nil
	}
	messages.Put(m)
}
