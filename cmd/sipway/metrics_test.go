package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// metric returns the value of a line of GET /metrics.
func (l *lab) metric(text, name string) string {
	l.t.Helper()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	l.t.Errorf("there is no %s", name)
	return ""
}

func TestMetrics(t *testing.T) {
	l := newLab(t, "--admin", "127.0.0.1:0")
	alice, bob := dial(t, "tcp", l.tcp, "alice"), dial(t, "udp", l.udp, "bob")
	alice.register(600)
	bob.register(600)
	bob.send("INVITE", "sip:alice@a.test", "<sip:alice@a.test>", "Contact: <"+bob.contact()+">\r\n", "")
	alice.answer(alice.receive(), 486, "")
	if m := bob.receive(); m.Status() != 486 {
		t.Fatalf("%s", m.Bytes())
	}
	bob.send("FROBNICATE", "sip:nobody@a.test", "<sip:nobody@a.test>", "", "")
	bob.receive()
	dial(t, "tcp", l.tcp, "x").conn.Write([]byte("nonsense\r\n\r\n"))

	_, body := get(t, "http://"+l.admin+"/metrics")
	text := string(body)
	for name, want := range map[string]string{
		`sipway_ready`:         "1",
		`sipway_registrations`: "2",
		`sipway_registration_events_total{event="added"}`:            "2",
		`sipway_registration_events_total{event="flow_closed"}`:      "0",
		`sipway_requests_total{method="REGISTER",transport="tcp"}`:   "1",
		`sipway_requests_total{method="INVITE",transport="udp"}`:     "1",
		`sipway_requests_total{method="other",transport="udp"}`:      "1",
		`sipway_messages_total{direction="in",transport="udp"}`:      "3",
		`sipway_calls_total{response="4xx"}`:                         "1",
		`sipway_calls_total{response="2xx"}`:                         "0",
		`sipway_calls{state="early"}`:                                "0",
		`sipway_calls_ended_total{cause="rejected"}`:                 "1",
		`sipway_call_setup_seconds_count`:                            "0",
		`sipway_call_records_dropped_total`:                          "0",
		`sipway_flows_opened_total{transport="ws"}`:                  "0",
		`sipway_store_seconds_count{operation="register"}`:           "2",
		`sipway_store_failures_total{operation="register"}`:          "0",
		`sipway_cache_lookups_total{cache="bindings",result="miss"}`: "0",
		`sipway_cache_evictions_total{cache="users"}`:                "0",
		`sipway_transactions{kind="server",method="INVITE"}`:         "1",
	} {
		if got := l.metric(text, name); got != want {
			t.Errorf("%s %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", `sipway_store_seconds_bucket{operation="lookup",le="+Inf"}`} {
		l.metric(text, name)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	problems = slices.DeleteFunc(problems, func(p promlint.Problem) bool { return !strings.HasPrefix(p.Metric, "sipway_") })
	if err != nil || len(problems) > 0 {
		t.Errorf("%+v, %v", problems, err)
	}
}

// Every metric stands in the README, and nothing else does.
func TestMetricsInReadme(t *testing.T) {
	documented := readmeMetrics(t) // before the lab changes the directory
	l := newLab(t, "--admin", "127.0.0.1:0")
	dial(t, "tcp", l.tcp, "alice").register(600)
	_, body := get(t, "http://"+l.admin+"/metrics")
	var names []string
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "# TYPE sipway_"); ok {
			names = append(names, "sipway_"+strings.Fields(rest)[0])
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, documented) {
		t.Errorf("GET /metrics has\n%q\nthe README\n%q", names, documented)
	}
}
