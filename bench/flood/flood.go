//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// flood sends requests that nobody has authenticated, of three kinds in turn and each a new
// one, until ctx is done. It runs in a process of its own, so as not to be in the way of the
// calls that are measured.
func flood(ctx context.Context, to, rate string) error {
	perSecond, err := strconv.Atoi(rate)
	if err != nil {
		return err
	}
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(flooder)}}
	conn, err := d.DialContext(ctx, "udp4", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	lines := []string{"OPTIONS sip:" + domain, "REGISTER sip:" + domain, "INVITE sip:udp-b0000@" + domain}
	methods := []string{"OPTIONS", "REGISTER", "INVITE"}
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	sent := 0
	var b []byte
	for ctx.Err() == nil {
		for due := int(time.Since(began).Seconds() * float64(perSecond)); sent < due; sent++ {
			kind := sent % len(lines)
			b = fmt.Appendf(b[:0], "%s SIP/2.0\r\nVia: SIP/2.0/UDP %s:5060;rport;branch=z9hG4bKf%d\r\nMax-Forwards: 70\r\nFrom: <sip:%d@%s>;tag=%d\r\n"+
				"To: <sip:%[4]d@%[5]s>\r\nCall-ID: f%[3]d\r\nCSeq: 1 %[7]s\r\nContact: <sip:%[4]d@%[2]s>\r\nUser-Agent: Any\r\nContent-Length: 0\r\n\r\n",
				lines[kind], flooder, sent, sent%1000, domain, sent, methods[kind])
			// A server that is not heard of any more, or a full queue, is no reason to stop.
			_, _ = conn.Write(b)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	if elapsed := time.Since(began).Seconds(); float64(sent) < .9*elapsed*float64(perSecond) {
		fmt.Fprintf(os.Stderr, "bench/flood: only %.0f requests a second were sent\n", float64(sent)/elapsed)
	}
	return nil
}
