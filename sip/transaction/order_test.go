package transaction

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/sipway/sipway/sip"
)

// slowSender takes its time over provisional responses.
type slowSender struct {
	mu   sync.Mutex
	sent []int // status codes, in the order in which they were handed over
	slow chan struct{}
}

func (s *slowSender) Send(_ sip.Flow, b []byte) error {
	m, err := sip.Parse(slices.Clone(b))
	if err != nil {
		return err
	}
	if m.Status() == 180 {
		close(s.slow)
		for range 1000 {
			runtime.Gosched()
		}
	}
	s.mu.Lock()
	s.sent = append(s.sent, m.Status())
	s.mu.Unlock()
	return nil
}

func (s *slowSender) Dial(context.Context, sip.Server) (sip.Flow, error) {
	return sip.Flow{}, errBroken
}

// silentUser answers nothing by itself.
type silentUser struct{ requests chan *Server }

func (u silentUser) Request(tx *Server)         { u.requests <- tx }
func (u silentUser) Ack(sip.Flow, *sip.Message) {}

// Two branches of a forked call answer at the same moment: the 200 never overtakes the 180
// that was accepted before it, for a caller who has his 200 takes a 180 for an error.
func TestResponsesKeepTheirOrder(t *testing.T) {
	for i := range 20 {
		s := &slowSender{slow: make(chan struct{})}
		u := silentUser{make(chan *Server, 1)}
		l := New(Config{}, s, u)
		l.Receive(udp, newRequest(t, sip.INVITE, udp, fmt.Sprintf("z9hG4bK%d", i)))
		tx := <-u.requests
		var wg sync.WaitGroup
		wg.Go(func() { tx.Reply(180, "") })
		<-s.slow
		wg.Go(func() { tx.Reply(200, "") })
		wg.Wait()
		if got := s.sent[len(s.sent)-2:]; !slices.Equal(got, []int{180, 200}) {
			t.Fatalf("sent %d", s.sent)
		}
	}
}
