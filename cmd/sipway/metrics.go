package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sipway/sipway/limits"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/store"
)

// exposition is what GET /metrics shows. The layers count by themselves; this reads their counts when
// it is asked. Names and labels are fixed, and no label has a value that a peer chooses.
type exposition struct {
	process  *process
	registry *prometheus.Registry
}

func newMetrics(p *process) *exposition {
	m := &exposition{process: p, registry: prometheus.NewRegistry()}
	m.registry.MustRegister(m, p.meters.seconds, p.meters.failures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler serves the metrics in the formats that Prometheus reads.
func (m *exposition) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sipway_"+name, help, labels, nil)
}

// The metrics of package main's own collector.
var (
	infoDesc     = desc("build_info", "1, with the version of the program.", "version")
	readyDesc    = desc("ready", "1 while the server takes calls.")
	messagesDesc = desc("messages_total", "SIP messages that passed.", "transport", "direction")
	bytesDesc    = desc("message_bytes_total", "Bytes of SIP messages that passed.", "transport", "direction")
	badDesc      = desc("messages_malformed_total", "Messages that could not be read.", "transport")
	droppedDesc  = desc("messages_dropped_total", "Messages that were to be sent and were not.", "transport")
	keepDesc     = desc("keepalives_total", "Pings, pongs and other fillings received between messages.", "transport")
	flowsDesc    = desc("flows", "Open connections.", "transport")
	openedDesc   = desc("flows_opened_total", "Connections that were accepted or made.", "transport")
	closedDesc   = desc("flows_closed_total", "Connections that have ended.", "transport")
	turnedDesc   = desc("flows_refused_total", "Connections that were closed as they came.", "transport")
	deadDesc     = desc("flows_dead_total", "Connections that were closed because the client did not answer a ping.", "transport")
	requestsDesc = desc("requests_total", "Requests received, retransmissions among them.", "transport", "method")

	transactionsDesc = desc("transactions", "Transactions that live now.", "kind", "method")
	strayDesc        = desc("responses_stray_total", "Responses that belonged to no request and were dropped.")
	refusedDesc      = desc("requests_refused_total", "Requests that were answered with 503 for want of room.")
	callsDesc        = desc("calls", "Calls that go on.", "state")
	callsEndedDesc   = desc("calls_ended_total", "Calls that have ended.", "cause")
	unrecordedDesc   = desc("calls_unrecorded_total", "Calls that passed without a record, as there were too many.")
	lostRecordsDesc  = desc("call_records_dropped_total", "Call detail records that could not be written in time.")
	callsTotalDesc   = desc("calls_total", "Calls by the class of the final response to their INVITE.", "response")
	callsRefusedDesc = desc("calls_refused_total", "Calls that were answered with 503 for want of room or at the end of the server.")

	parkedDesc      = desc("parked", "Waits of requests for users whose connection broke just now.")
	parkedTotalDesc = desc("parked_total", "Waits of requests for users whose connection broke, by whether they came back.", "outcome")

	certificateDesc = desc("tls_certificate_expiry_timestamp_seconds", "When the first certificate ends, in seconds since 1970.")

	registrationsDesc = desc("registrations", "Contacts that are registered, of all nodes.")
	eventsDesc        = desc("registration_events_total", "What happened to registrations at this node.", "event")
	watchersDesc      = desc("registration_watchers", "Readers of registration events.")
	cacheDesc         = desc("cache_lookups_total", "Look-ups in memory; a miss goes to the database.", "cache", "result")
	evictedDesc       = desc("cache_evictions_total", "Entries that gave way to others in memory.", "cache")
	entriesDesc       = desc("cache_entries", "Addresses or users in memory in front of the database.", "cache")
	cacheBytesDesc    = desc("cache_bytes", "Memory in front of the database, as it is reckoned against its bound.", "cache")
)

var (
	limitedDesc   = desc("limits_dropped_total", "Messages that were not read: dropped over UDP, or the end of their connection.", "transport")
	banTurnedDesc = desc("limits_connections_refused_total", "Connections of banned sources that were not taken.")
	overDesc      = desc("limits_users_refused_total", "Requests of users above their limit, answered with 503.")
	guessesDesc   = desc("limits_guesses_total", "Passwords that were not looked at, as too many before them were wrong.")
	bannedDesc    = desc("limits_bans_total", "Sources that were banned.", "reason")
	bansDesc      = desc("limits_bans", "Sources that are banned now.")
)

// Describe implements [prometheus.Collector]. What is collected depends on the listeners.
func (m *exposition) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (m *exposition) Collect(out chan<- prometheus.Metric) {
	c := collector{out}
	p := m.process
	c.gauge(infoDesc, 1, buildVersion().Version)
	ready := 0
	if p.ready() == nil {
		ready = 1
	}
	c.gauge(readyDesc, float64(ready))
	if n, ok := p.count.get(p.store); ok {
		c.gauge(registrationsDesc, float64(n))
	}
	for event, name := range eventNames {
		if name != "" {
			c.counter(eventsDesc, p.changes.total[event].Load(), name)
		}
	}
	c.gauge(watchersDesc, float64(p.changes.active.Load()))
	bindings, users := p.store.CacheStats()
	c.cache("bindings", &p.meters.bindings, &bindings)
	c.cache("users", &p.meters.users, &users)
	if s := p.server.Load(); s != nil {
		if at, ok := s.encryption.expires(); ok {
			c.gauge(certificateDesc, float64(at.Unix()))
		}
		c.transports(s)
		c.work(s)
		c.limits(s.limits.Stats())
	}
}

// collector sends metrics.
type collector struct{ out chan<- prometheus.Metric }

func (c collector) counter(d *prometheus.Desc, n uint64, labels ...string) {
	c.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (c collector) gauge(d *prometheus.Desc, n float64, labels ...string) {
	c.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
}

func (c collector) cache(name string, hits *cacheMeter, st *store.CacheStats) {
	c.counter(cacheDesc, hits.hits.Load(), name, "hit")
	c.counter(cacheDesc, hits.misses.Load(), name, "miss")
	c.counter(evictedDesc, st.Evictions, name)
	c.gauge(entriesDesc, float64(st.Entries+st.Absent), name)
	c.gauge(cacheBytesDesc, float64(st.Bytes), name)
}

// transports collects what the transport and the way in have counted.
func (c collector) transports(s *server) {
	for t, n := range s.transport.Stats() {
		name := strings.ToLower(t.String())
		c.counter(messagesDesc, n.In, name, "in")
		c.counter(messagesDesc, n.Out, name, "out")
		c.counter(bytesDesc, n.BytesIn, name, "in")
		c.counter(bytesDesc, n.BytesOut, name, "out")
		c.counter(badDesc, n.Malformed, name)
		c.counter(droppedDesc, n.Dropped, name)
		for i, method := range methods {
			if n := s.requests[t][i].Load(); n > 0 {
				c.counter(requestsDesc, n, name, method)
			}
		}
		if t == sip.UDP {
			continue
		}
		c.counter(keepDesc, n.Keepalives, name)
		c.gauge(flowsDesc, float64(n.Flows), name)
		c.counter(openedDesc, n.Opened, name)
		c.counter(closedDesc, n.Opened-uint64(n.Flows), name)
		c.counter(turnedDesc, n.Refused, name)
		c.counter(deadDesc, n.Dead, name)
	}
}

// limits collects what the limiter has counted.
func (c collector) limits(n limits.Stats) {
	c.counter(limitedDesc, n.Dropped, "udp")
	c.counter(limitedDesc, n.Closed, "stream")
	c.counter(banTurnedDesc, n.Turned)
	c.counter(overDesc, n.Refused)
	c.counter(guessesDesc, n.Guesses)
	for reason, n := range n.Banned {
		c.counter(bannedDesc, n, limits.Reason(reason).String())
	}
	c.gauge(bansDesc, float64(n.Bans))
}

// work collects what the transactions and the proxy have counted.
func (c collector) work(s *server) {
	n := s.transactions.Stats()
	c.gauge(transactionsDesc, float64(n.InviteClients), "client", "INVITE")
	c.gauge(transactionsDesc, float64(n.Clients), "client", "other")
	c.gauge(transactionsDesc, float64(n.InviteServers), "server", "INVITE")
	c.gauge(transactionsDesc, float64(n.Servers), "server", "other")
	c.counter(strayDesc, n.Strays)
	c.counter(refusedDesc, n.Refused)
	calls := s.proxy.Stats()
	c.counter(callsRefusedDesc, uint64(calls.Refused))
	c.gauge(parkedDesc, float64(calls.Parked))
	c.counter(parkedTotalDesc, uint64(calls.CameBack), "came_back")
	c.counter(parkedTotalDesc, uint64(calls.InVain), "in_vain")
	c.calls(s)
	for class, n := range calls.Finals {
		if class >= 2 {
			c.counter(callsTotalDesc, uint64(n), string(rune('0'+class))+"xx")
		}
	}
}

// calls collects what the records of calls have counted.
func (c collector) calls(s *server) {
	stats := s.calls.Stats()
	for _, state := range dialog.States {
		c.gauge(callsDesc, float64(stats.Live[state]), state.String())
	}
	for _, cause := range dialog.Causes() {
		c.counter(callsEndedDesc, stats.Ended[cause], cause.String())
	}
	c.counter(unrecordedDesc, stats.Missed)
	c.counter(lostRecordsDesc, s.records.dropped.Load())
	s.records.setUp.Collect(c.out)
	s.records.talk.Collect(c.out)
}

// methods are the values of the label method, the last one for all others.
var methods = [...]string{
	"REGISTER", "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "UPDATE", "INFO", "REFER", "MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH",
	"other",
}

// methodIndex is the place of a method in methods.
func methodIndex(m sip.Method) int {
	for i, name := range methods[:len(methods)-1] {
		if string(m) == name {
			return i
		}
	}
	return len(methods) - 1
}

// registrationCount is a count of the registrations that is not made at every look: it costs the
// store time in proportion to their number.
type registrationCount struct {
	mu    sync.Mutex
	n     int
	known bool
	at    time.Time
}

// countAge is how old the count may be.
const countAge = 15 * time.Second

func (c *registrationCount) get(st store.Store) (n int, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.at) < countAge {
		return c.n, c.known
	}
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	n, err := st.Count(ctx, store.Query{Now: now})
	c.n, c.known, c.at = n, err == nil, now
	return c.n, c.known
}
