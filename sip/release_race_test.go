//go:build race

package sip

import "testing"

// Under the race detector a message that was released can't be used unnoticed.
func TestReleasedMessageShows(t *testing.T) {
	for name, use := range map[string]func(m *Message){
		"released again": (*Message).Release,
		"written":        func(m *Message) { m.Bytes() },
		"cloned":         func(m *Message) { m.Clone() },
	} {
		m := NewRequest(OPTIONS, "sip:example.test")
		m.Append(HCallID, "a")
		m.Release()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s without a panic", name)
				}
			}()
			use(m)
		}()
	}
}
