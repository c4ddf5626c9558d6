package transport

import (
	"crypto/tls"
	"io"
	"syscall"
	"testing"

	"github.com/sipway/sipway/sip"
)

// BenchmarkHandshake is a connection's beginning and end with a full handshake, and with one
// that a session ticket cuts short, both sides of it; resumed/op says how many were.
func BenchmarkHandshake(b *testing.B) {
	for _, resume := range []bool{false, true} {
		name := "full"
		if resume {
			name = "resumed"
		}
		b.Run(name, func(b *testing.B) {
			ca := newAuthority(b)
			h := &deepEcho{}
			h.layer = New(Config{TLS: ca.serverConfig(b)}, h)
			defer h.layer.Close()
			at := listen(b, h.layer, sip.TLS)
			cfg := ca.clientConfig()
			if !resume {
				cfg.ClientSessionCache = nil
			}
			resumed, answer := 0, make([]byte, len(idleAnswer))
			before := processorTime(b)
			for b.Loop() {
				c, err := tls.Dial("tcp", at.String(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				write(b, c, request(sip.TLS, 1))
				if _, err := io.ReadFull(c, answer); err != nil {
					b.Fatal(err)
				}
				if c.ConnectionState().DidResume {
					resumed++
				}
				c.Close()
			}
			b.ReportMetric(float64(resumed)/float64(b.N), "resumed/op")
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what the process has used, in nanoseconds.
func processorTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
