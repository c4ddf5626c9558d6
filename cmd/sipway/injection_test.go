package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// Whatever names and headers strangers choose, a line of the log is one line, and no terminal
// obeys it.
func TestRequestsForgeNoLogLines(t *testing.T) {
	for _, format := range []string{"console", "logfmt", "json"} {
		t.Run(format, func(t *testing.T) {
			c := newCLI(t)
			c.env["SIPWAY_LOG_LEVEL"] = "debug"
			c.env["SIPWAY_AUTH_MODE"] = "digest"
			c.env["SIPWAY_LOG_FORMAT"] = format
			c.env["SIPWAY_STORE"] = "memory:"
			r := c.serve("--domain", "a.test", "--listen", "udp://127.0.0.1:0,tcp://127.0.0.1:0", "--admin", "127.0.0.1:0")
			addr := r.await(t, `listening.*transport\W+tcp\W+addr\W+(127\.0\.0\.1:\d+)`)[1]
			r.await(t, `ready`)
			const evil = "x%0D%0AFORGED%20level=ERROR%1B[2J%07"
			p := dial(t, "tcp", addr, "alice")
			for i, head := range []string{
				"REGISTER sip:a.test|X: y",
				"REGISTER sip:a.test|Authorization: Digest username=\"x\x1b[31m\", realm=\"a.test\", nonce=\"\x1b\", uri=\"x\", response=\"y\"",
				"REGISTER sip:a.test|Authorization: Digest username=\"" + evil + "\", realm=\"a.test\", nonce=\"n\", uri=\"sip:a.test\", response=\"y\"",
				"MESSAGE sip:y%0AFORGED@a.test|User-Agent: \x1b[2J",
				"INVITE sip:y%0AFORGED@a.test|Contact: <sip:x%0AFORGED@127.0.0.1>",
				"MESSAGE\x1b[2J sip:y@a.test|X: y",
			} {
				start, header, _ := strings.Cut(head, "|")
				method, _, _ := strings.Cut(start, " ")
				fmt.Fprintf(p.conn, "%s SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s@a.test>;tag=%s\r\n"+
					"To: <sip:%s@a.test>\r\nCall-ID: %d-%s\r\nCSeq: 1 %s\r\n%s\r\nContent-Length: 0\r\n\r\n", start, i, evil, "t", evil, i, evil, method, header)
			}
			// Once the last one is answered all have been read.
			p.send("REGISTER", "sip:a.test", "<sip:alice@a.test>", "", "")
			for m := p.receive(); !strings.HasSuffix(m.CallID(), "-alice"); m = p.receive() {
			}
			r.signals <- syscall.SIGTERM
			r.end()
			if !strings.Contains(r.log.String(), "FORGED") {
				t.Error("the log says nothing of it, so nothing is proven")
			}
			for line := range strings.Lines(r.log.String()) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasPrefix(line, "FORGED") || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' }) {
					t.Errorf("a line of the log is %q", line)
				}
				if format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %q", line)
				}
			}
		})
	}
}
