package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/media"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/store"
)

// callBook is the calls of the running server for the admin API.
type callBook struct{ process *process }

var _ admin.Calls = callBook{}

// ListCalls implements [admin.Calls].
func (b callBook) ListCalls(_ context.Context, q admin.CallQuery) (page admin.CallPage, err error) {
	s := b.process.server.Load()
	if s == nil {
		return page, errStarting
	}
	list, more := s.calls.List(q.After, q.PageSize(), selects(&q))
	now := time.Now()
	for i := range list {
		page.Calls = append(page.Calls, newCall(&list[i], now))
	}
	if more {
		page.Next = list[len(list)-1].ID
	}
	return page, nil
}

// CountCalls implements [admin.Calls].
func (b callBook) CountCalls(_ context.Context, q admin.CallQuery) (int, error) {
	s := b.process.server.Load()
	if s == nil {
		return 0, errStarting
	}
	n, keep := 0, selects(&q)
	s.calls.List("", 0, func(r *dialog.Record) bool {
		if keep(r) {
			n++
		}
		return false
	})
	return n, nil
}

// selects tells the calls that a query selects.
func selects(q *admin.CallQuery) func(r *dialog.Record) bool {
	now := time.Now()
	return func(r *dialog.Record) bool {
		c := newCall(r, now)
		return q.Selects(&c, now)
	}
}

// ShowCall implements [admin.Calls].
func (b callBook) ShowCall(_ context.Context, id string) ([]admin.Call, error) {
	s := b.process.server.Load()
	if s == nil {
		return nil, errStarting
	}
	found := s.calls.Find(id)
	if len(found) == 0 {
		return nil, describedError{"there is no live call " + id, store.ErrNotFound}
	}
	now := time.Now()
	list := make([]admin.Call, len(found))
	for i := range found {
		list[i] = newCall(&found[i], now)
		list[i].Caller.Connection = s.connection(&found[i].Caller)
		list[i].Callee.Connection = s.connection(&found[i].Callee)
	}
	return list, nil
}

// connection says what the server knows of the way to a side of a call.
func (s *server) connection(p *dialog.Party) *admin.State {
	if p.Flow.Transport == 0 {
		return nil
	}
	_, reachable := s.proxy.Reachable(p)
	state := &admin.State{Reachable: reachable || !p.Flow.Transport.Reliable()}
	if info, ok := s.transport.Info(p.Flow.ID); ok {
		state.Opened, state.LastHeard, state.RTT = info.Opened.UTC(), info.LastHeard.UTC(), milliseconds(info.RTT)
	}
	return state
}

// describeSDP is how the records of calls describe media.
func describeSDP(sdp []byte) (m dialog.Media) {
	m.Codec, m.Summary = media.Describe(sdp)
	return m
}

// newCall describes a call.
func newCall(r *dialog.Record, now time.Time) admin.Call {
	c := admin.Call{
		ID: r.ID, CallID: r.CallID, State: r.State.String(), From: r.Caller.Identity, To: r.Dialed,
		Start: moment(r.Began), Ring: moment(r.Rang), Answer: moment(r.Answered), End: moment(r.Ended),
		Duration: float64(r.Duration(now).Milliseconds()) / 1000,
		Cause:    r.Cause.String(), By: r.By.String(), Status: r.Status, Reason: r.Reason, Codec: r.Codec,
		Caller:          newCallParty(&r.Caller, r.Media[dialog.Caller].Summary),
		Callee:          newCallParty(&r.Callee, r.Media[dialog.Callee].Summary),
		SessionInterval: int(r.Interval / time.Second), SessionExpires: moment(r.Expires), Lost: moment(r.Lost),
		ReferTo: r.Refer, Replaces: r.Replaces, MessageCount: r.Messages,
	}
	if r.Cause == dialog.Running {
		c.By = "" // of a BYE that has no answer yet
	}
	for _, l := range r.Legs {
		c.Legs = append(c.Legs, admin.CallLeg{
			CallParty: newCallParty(&l.Party, ""), Contact: l.URI, Start: moment(l.Began), Ring: moment(l.Rang), End: moment(l.Ended),
			Status: l.Status, Unanswered: l.Ours,
		})
	}
	for _, d := range r.Dialogs {
		c.Dialogs = append(c.Dialogs, admin.CallDialog{
			FromTag: r.CallerTag, ToTag: d.CalleeTag, State: d.State.String(), CallerCSeq: d.CSeq[dialog.Caller], CalleeCSeq: d.CSeq[dialog.Callee],
		})
	}
	for _, step := range r.Steps {
		from := "caller"
		if step.From == dialog.Callee {
			from = "callee"
		}
		c.Messages = append(c.Messages, admin.CallMessage{Time: moment(step.At), From: from, Method: string(step.Method), Status: step.Status})
	}
	return c
}

func newCallParty(p *dialog.Party, media string) admin.CallParty {
	party := admin.CallParty{UserAgent: p.UserAgent, Media: media}
	if f := p.Flow; f.Transport != 0 {
		party.Transport, party.Remote, party.Flow = strings.ToLower(f.Transport.String()), f.Remote.String(), f.ID
		if f.Local.IsValid() {
			party.Local = f.Local.String()
		}
	}
	return party
}

func moment(t time.Time) admin.Moment { return admin.Moment{Time: t} }

// legText says in one word for a log where a leg went and how it ended: "sip:bob@192.0.2.7 486".
func legText(l *admin.CallLeg) string { return fmt.Sprintf("%s %d", l.Contact, l.Status) }
