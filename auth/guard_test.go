package auth

import (
	"slices"
	"testing"

	"github.com/sipway/sipway/sip"
)

// guard writes down what it hears.
type guard struct {
	heard    []string
	guessing string // a user whose password is being guessed
	over     string // a user above his limit
}

func (g *guard) Challenged(sip.Flow)                { g.heard = append(g.heard, "challenged") }
func (g *guard) Failed(_ sip.Flow, user string)     { g.heard = append(g.heard, "failed "+user) }
func (g *guard) Guessing(_ sip.Flow, u string) bool { return u == g.guessing }
func (g *guard) Succeeded(_ sip.Flow, user string) bool {
	g.heard = append(g.heard, "succeeded "+user)
	return user != g.over
}

func TestGuard(t *testing.T) {
	tests := []struct {
		name           string
		guard          guard
		user, password string // no credentials without a user
		outcome        Outcome
		status         int
		heard          []string
	}{
		{"no credentials", guard{}, "", "", Challenged, 401, []string{"challenged"}},
		{"right password", guard{}, "alice", "secret", Authenticated, 0, []string{"succeeded alice@example.test"}},
		{"wrong password", guard{}, "alice", "guess", Challenged, 401, []string{"failed alice@example.test"}},
		{"unknown user", guard{}, "nobody", "guess", Challenged, 401, []string{"failed nobody@example.test"}},
		{"guessed", guard{guessing: "alice@example.test"}, "alice", "secret", Challenged, 401, []string{"failed alice@example.test"}},
		{"above the limit", guard{over: "alice@example.test"}, "alice", "secret", Refused, 503, []string{"succeeded alice@example.test"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuth(t, Config{Guard: &tt.guard}, newUsers())
			var lines []string
			if tt.user != "" {
				challenge := authenticate(a, desk, request(t, sip.REGISTER), false).Challenges[0]
				tt.guard.heard = nil
				lines = append(lines, "Authorization: "+credentials(challenge, sip.REGISTER, tt.user, tt.password, 1))
			}
			d := authenticate(a, desk, request(t, sip.REGISTER, lines...), false)
			if d.Outcome != tt.outcome || d.Status != tt.status || !slices.Equal(tt.guard.heard, tt.heard) {
				t.Errorf("%v %d, heard %q", d.Outcome, d.Status, tt.guard.heard)
			}
		})
	}
}
