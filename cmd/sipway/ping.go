package main

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/transaction"
	"github.com/sipway/sipway/store"
)

var (
	errNoWay    = errors.New("not connected")
	errOtherOne = errors.New("connected to another node")
	errNoAnswer = errors.New("no answer")
)

// Ping implements [admin.Live]: an OPTIONS to every contact of an address-of-record at the same
// time, by the way that a call would take.
func (d *directory) Ping(ctx context.Context, aor string) ([]admin.Pong, error) {
	s := d.process.server.Load()
	if s == nil {
		return nil, errStarting
	}
	now := time.Now()
	bindings, err := d.Store.Lookup(ctx, aor, now)
	if err != nil {
		return nil, err
	}
	if len(bindings) == 0 {
		_, err := d.Offline.Show(ctx, aor)
		return nil, err
	}
	pongs := make([]admin.Pong, len(bindings))
	var all sync.WaitGroup
	for i := range bindings {
		pongs[i].Registration = admin.NewRegistration(&bindings[i], now)
		all.Go(func() {
			a, err := s.ping(ctx, &bindings[i])
			pongs[i].Status, pongs[i].Reason, pongs[i].RTT = a.status, a.reason, milliseconds(a.took)
			if err != nil {
				pongs[i].Error = err.Error()
			}
		})
	}
	all.Wait()
	return pongs, nil
}

// answer is the final response to an OPTIONS.
type answer struct {
	status int
	reason string
	took   time.Duration
}

// ping sends an OPTIONS (RFC 3261 §11) to a contact and waits for the answer as long as ctx lasts.
func (s *server) ping(ctx context.Context, b *store.Binding) (answer, error) {
	uri, flow, ok := s.proxy.Way(b)
	switch {
	case b.Flow.ID != 0 && b.Node != "" && !s.registrar.Owns(b):
		return answer{}, errOtherOne
	case !ok:
		return answer{}, errNoWay
	}
	p := &pinging{done: make(chan struct{})}
	sent := time.Now()
	if _, err := s.transactions.Request(flow, s.options(b, uri, flow), p); err != nil {
		return answer{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return answer{}, errNoAnswer
	}
	p.answer.took = p.at.Sub(sent)
	return p.answer, p.err
}

// options is the request of a ping. Its branch is none that the proxy takes for its own.
func (s *server) options(b *store.Binding, uri string, flow sip.Flow) *sip.Message {
	host, port := s.addresses.sentBy(flow)
	m := sip.NewRequest(sip.OPTIONS, uri)
	m.PushVia(sip.Via{Transport: flow.Transport.String(), Host: host, Port: port, Branch: "z9hG4bK" + rand.Text(), RPort: -1})
	if b.Path != "" {
		m.Append(sip.HRoute, b.Path) // RFC 3327 §5.1
	}
	m.SetMaxForwards(70)
	m.Append(sip.HFrom, "<sip:"+string(s.cfg.Domains[0])+">;tag="+rand.Text())
	m.Append(sip.HTo, "<"+uri+">")
	m.Append(sip.HCallID, rand.Text())
	m.Append(sip.HCSeq, "1 OPTIONS")
	m.Append(sip.HAccept, "application/sdp")
	m.EnsureContentLength()
	return m
}

// pinging waits for the end of an OPTIONS.
type pinging struct {
	answer answer
	err    error
	at     time.Time
	once   sync.Once
	done   chan struct{} // closed when the others are set
}

// Response implements [transaction.ClientHandler].
func (p *pinging) Response(_ *transaction.Client, m *sip.Message) {
	if m.Status() >= 200 {
		p.end(answer{status: m.Status(), reason: m.Reason()}, nil)
	}
}

// Error implements [transaction.ClientHandler].
func (p *pinging) Error(_ *transaction.Client, err error) {
	if errors.Is(err, transaction.ErrTimeout) {
		err = errNoAnswer
	}
	p.end(answer{}, err)
}

func (p *pinging) end(a answer, err error) {
	p.once.Do(func() {
		p.at = time.Now()
		a.reason = strings.Clone(a.reason) // not a part of the message
		p.answer, p.err = a, err
		close(p.done)
	})
}
