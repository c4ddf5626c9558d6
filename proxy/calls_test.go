package proxy

import (
	"fmt"
	"strings"

	"github.com/sipway/sipway/sip/dialog"
)

func (w *world) callEnded(c *dialog.Call) {
	r := c.Record()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, r)
}

// checkEnded is a line "ended rejected callee 486 bob1:486 bob2:487": the cause of the next
// call that ended and who ended it, its final response where it failed, and how its legs
// ended.
func (s *script) checkEnded(want []string) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if len(s.w.ended) == 0 {
		s.fail("no call has ended")
	}
	r := s.w.ended[0]
	s.w.ended = s.w.ended[1:]
	got := []string{r.Cause.String(), r.By.String()}
	if r.Status != 0 {
		got = append(got, fmt.Sprint(r.Status))
	}
	for _, leg := range r.Legs {
		who := fmt.Sprint(leg.Party.Flow)
		for _, name := range s.names {
			if a := s.actors[name]; a.contact == leg.URI || a.flow == leg.Party.Flow {
				who = name
			}
		}
		if leg.Ours {
			who += ":ours"
		}
		got = append(got, fmt.Sprintf("%s:%d", who, leg.Status))
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		s.fail("the call ended %s", g)
	}
}

// checkLive is a line "live early confirmed": the states of the calls there are, oldest
// first.
func (s *script) checkLive(want []string) {
	var got []string
	list, _ := s.w.proxy.Calls.List("", 100, nil)
	for _, r := range list {
		got = append(got, r.State.String())
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		s.fail("live are %q", g)
	}
}
