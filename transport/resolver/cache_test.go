package resolver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

var (
	one = []dns.RR{&dns.A{}}
	two = []dns.RR{&dns.A{}, &dns.A{}}
	q   = question{"a.test.", dns.TypeA}
)

// source answers a cache's questions in virtual time.
type source struct {
	mu     sync.Mutex
	answer answer
	delay  time.Duration
	asked  int
}

func (s *source) ask(ctx context.Context, _ question) answer {
	s.mu.Lock()
	s.asked++
	a, delay := s.answer, s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
		return a
	case <-ctx.Done():
		return answer{err: ErrSilent}
	}
}

func (s *source) set(a answer, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.delay = a, delay
}

// step waits, asks, and says what is to come of it.
type step struct {
	wait    time.Duration
	answer  answer // what the source says from now on
	delay   time.Duration
	records int
	err     error
	took    time.Duration
	asked   int // in all
}

func TestCache(t *testing.T) {
	good := answer{records: one, ttl: time.Minute}
	better := answer{records: two, ttl: time.Minute}
	silent := answer{err: ErrSilent}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"an answer lives as long as it says", []step{
			{0, good, time.Second, 1, nil, time.Second, 1},
			{59 * time.Second, better, 0, 1, nil, 0, 1},
			{time.Second, better, 0, 2, nil, 0, 2},
		}},
		{"one without time is used once", []step{
			{0, answer{records: one}, 0, 1, nil, 0, 1},
			{0, answer{records: two}, 0, 2, nil, 0, 2},
		}},
		{"absence lives as long as it says", []step{
			{0, answer{err: ErrNotFound, ttl: 10 * time.Second}, 0, 0, ErrNotFound, 0, 1},
			{9 * time.Second, good, 0, 0, ErrNotFound, 0, 1},
			{time.Second, good, 0, 1, nil, 0, 2},
		}},
		{"an old answer does where there is none", []step{
			{0, good, 0, 1, nil, 0, 1},
			{2 * time.Minute, silent, time.Second, 1, nil, time.Second, 2},
			{29 * time.Second, silent, time.Second, 1, nil, 0, 2}, // not asked again yet
			{time.Second, better, time.Second, 2, nil, time.Second, 3},
		}},
		{"an old answer does where a new one takes its time", []step{
			{0, good, 0, 1, nil, 0, 1},
			{2 * time.Minute, better, 3 * time.Second, 1, nil, staleAfter, 2},
			{2 * time.Second, better, 0, 2, nil, 0, 2}, // it has come
		}},
		{"but it does not do for ever", []step{
			{0, good, 0, 1, nil, 0, 1},
			{time.Hour + time.Minute, silent, time.Second, 0, ErrSilent, time.Second, 2},
		}},
		{"that it is gone is no failure", []step{
			{0, good, 0, 1, nil, 0, 1},
			{2 * time.Minute, answer{err: ErrNotFound, ttl: time.Minute}, 0, 0, ErrNotFound, 0, 2},
		}},
		{"a failure is remembered for a moment", []step{
			{0, silent, 4 * time.Second, 0, ErrSilent, 4 * time.Second, 1},
			{4 * time.Second, good, 0, 0, ErrSilent, 0, 1},
			{time.Second, good, 3 * time.Second, 1, nil, 3 * time.Second, 2}, // and is no old answer
		}},
		{"nobody waits for ever", []step{
			{0, good, time.Hour, 0, ErrSilent, flightTime, 1},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(source)
				c := newCache(16, time.Hour, s.ask)
				for i, st := range tc.steps {
					<-time.After(st.wait)
					s.set(st.answer, st.delay)
					start := time.Now()
					records, err := c.lookup(t.Context(), q)
					synctest.Wait()
					if len(records) != st.records || !errors.Is(err, st.err) || time.Since(start) != st.took || s.asked != st.asked {
						t.Errorf("step %d: %d records, %v, after %v, asked %d times", i, len(records), err, time.Since(start), s.asked)
					}
				}
				<-time.After(time.Minute) // for what is still on its way
			})
		})
	}
}

// However many ask, one question goes out, and it goes on for the others when one gives up.
func TestSharedQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: answer{records: one, ttl: time.Minute}, delay: time.Second}
		c := newCache(16, time.Hour, s.ask)
		var wait sync.WaitGroup
		for range 100 {
			wait.Go(func() {
				if records, err := c.lookup(t.Context(), q); len(records) != 1 || err != nil {
					t.Errorf("%v, %v", records, err)
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.lookup(ctx, q); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one who gives up: %v", err)
		}
		wait.Wait()
		if s.asked != 1 {
			t.Errorf("asked %d times", s.asked)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	s := &source{answer: answer{records: one, ttl: time.Minute}}
	c := newCache(4, time.Hour, s.ask)
	for i := range 100 {
		if _, err := c.lookup(t.Context(), question{"a.test.", uint16(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.entries.Len(); n != 4 {
		t.Errorf("%d entries", n)
	}
}
