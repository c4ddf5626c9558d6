package transport

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// idleWindow is two intervals of the pings, which are all that an idle client costs.
const idleWindow = time.Minute

// BenchmarkIdleWSCPU reports the processor time, user and system, that 5,000 idle clients
// who answer their pings cost the server in a minute, without and with TLS. One iteration
// takes a minute: run it with -benchtime 1x.
func BenchmarkIdleWSCPU(b *testing.B) {
	const clients = 5000
	for _, server := range []string{"sipway", "sipway-tls"} {
		b.Run(server, func(b *testing.B) {
			var used time.Duration
			for b.Loop() {
				withIdleServer(b, server, func(s *idleProcess) {
					conns := connectIdle(b, s.at, clients, s.secure)
					var running sync.WaitGroup
					for _, c := range conns {
						running.Go(func() { answerPings(c) })
					}
					began := processorTimeOf(b, s.pid)
					<-time.After(idleWindow)
					used = processorTimeOf(b, s.pid) - began
					for _, c := range conns {
						c.Close()
					}
					running.Wait()
				})
			}
			b.ReportMetric(float64(used.Microseconds())/clients, "cpu-us/client/min")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// answerPings does for a client what a browser does, until the connection ends.
func answerPings(c net.Conn) {
	var head [2]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		payload := make([]byte, head[1])
		if _, err := io.ReadFull(c, payload); err != nil {
			return
		}
		if head[0] == final|opPing {
			if _, err := io.WriteString(c, clientFrame(final|opPong, string(payload))); err != nil {
				return
			}
		}
	}
}

// processorTimeOf is what a process has used so far, to a hundredth of a second.
func processorTimeOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
