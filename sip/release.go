//go:build !race

package sip

// retire lets the message's memory be used again.
func (m *Message) retire() {
	m.reset("")
	messages.Put(m)
}
