package main

import (
	"context"
	"strings"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// countTime bounds how long a status waits for the store to count.
const countTime = 2 * time.Second

// status describes the process for GET /status.
func (p *process) status() admin.Status {
	st := admin.Status{Store: p.cfg.Store.String(), Listeners: []string{}, Counters: map[string]int64{}}
	for _, d := range p.cfg.Domains {
		st.Domains = append(st.Domains, string(d))
	}
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	if n, err := p.store.Count(ctx, store.Query{Now: time.Now()}); err == nil {
		st.Counters["registrations"] = int64(n)
	}
	s := p.server.Load()
	if s == nil {
		return st
	}
	for _, l := range s.transport.Listeners() {
		st.Listeners = append(st.Listeners, strings.ToLower(l.Transport.String())+"://"+l.Addr.String())
	}
	if at, ok := s.encryption.expires(); ok {
		st.CertificateExpires = at.UTC()
	}
	for t, n := range s.transport.Stats() {
		prefix := strings.ToLower(t.String()) + "_"
		if t != sip.UDP {
			st.Counters[prefix+"connections"] = int64(n.Flows)
			st.Counters[prefix+"connections_total"] = int64(n.Opened)
		}
		st.Counters[prefix+"messages_in_total"] = int64(n.In)
		st.Counters[prefix+"messages_out_total"] = int64(n.Out)
		st.Counters[prefix+"messages_malformed_total"] = int64(n.Malformed)
		st.Counters[prefix+"messages_dropped_total"] = int64(n.Dropped)
	}
	n := s.transactions.Stats()
	st.Counters["transactions_invite"] = int64(n.InviteClients + n.InviteServers)
	st.Counters["transactions_other"] = int64(n.Clients + n.Servers)
	st.Counters["responses_stray_total"] = int64(n.Strays)
	st.Counters["requests_refused_total"] = int64(n.Refused)
	return st
}
