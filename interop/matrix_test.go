package interop

import "testing"

// kinds are the four kinds of phone that must reach each other. Each has its
// own user.
var kinds = []struct {
	name string
	make func(t *testing.T, s *server) phone
}{
	{"jssip", func(t *testing.T, s *server) phone { return openPage(t, s, jsSIP, "alice") }},
	{"sipjs", func(t *testing.T, s *server) phone { return openPage(t, s, sipJS, "bob") }},
	{"udp", func(t *testing.T, s *server) phone { return newBarePhone(t, s, "carol") }},
	{"tcp", func(t *testing.T, s *server) phone {
		p := newDeskPhone(t, s, "tcp", "dave")
		p.web = true
		return p
	}},
}

// Every kind calls every other: answered and hung up by either side, cancelled
// while it rings, refused.
func TestEveryKindCallsEveryOther(t *testing.T) {
	s := startServer(t, settings{md5: true})
	phones := make([]phone, len(kinds))
	for i, kind := range kinds {
		phones[i] = kind.make(t, s)
		phones[i].register(t)
	}
	for i, from := range phones {
		for j, to := range phones {
			if i == j {
				continue
			}
			t.Run(kinds[i].name+" calls "+kinds[j].name, func(t *testing.T) {
				t.Run("caller hangs up", func(t *testing.T) {
					caller, callee := connect(t, from, to)
					release(t, from, caller, to, callee)
				})
				t.Run("called party hangs up", func(t *testing.T) {
					caller, callee := connect(t, from, to)
					release(t, to, callee, from, caller)
				})
				t.Run("cancelled", func(t *testing.T) {
					caller, callee := ring(t, from, to)
					from.inbox().await(t, "progress", caller)
					from.hangup(t, caller)
					to.inbox().await(t, "failed", callee)
					from.inbox().await(t, "failed", caller)
				})
				t.Run("busy", func(t *testing.T) {
					caller, callee := ring(t, from, to)
					to.reject(t, callee, 486)
					if e := from.inbox().await(t, "failed", caller); e.Status != 486 {
						t.Errorf("the caller hears of %d, not 486", e.Status)
					}
				})
			})
		}
	}
}
