package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mostAmplified is how many times the bytes of an unauthenticated request over UDP its sender
// gets at most, all repetitions included. Its address may be somebody else's: the less there
// is to be gained, the less we are used for it.
const mostAmplified = 3

// No stranger's datagram is answered with much more than it has: not the smallest request of
// any method, for whomever, nor what can't be read.
func TestAmplification(t *testing.T) {
	c := newCLI(t)
	c.write("sipway.yaml", "auth: {mode: digest, algorithms: [SHA-256, SHA-512-256, MD5]}\nusers_file: users.csv\n")
	c.write("users.csv", "alice,a.test,secret\n")
	c.env["SIPWAY_AUTH_MODE"] = "digest"
	l := c.lab("--config", "sipway.yaml")
	var requests []string
	for _, method := range append([]string{"REGISTER", "FROBNICATE"}, methods[1:len(methods)-1]...) {
		for _, uri := range []string{"sip:a.test", "sip:alice@a.test", "sip:nobody@a.test", "sip:x@b.test", "sips:alice@a.test", "tel:1", "x:y"} {
			for _, from := range []string{"sip:alice@a.test", "sip:b@b"} {
				requests = append(requests, smallest(method, uri, from, ""))
			}
		}
		requests = append(requests,
			smallest(method, "sip:alice@a.test", "sip:b@b", "Require:x\nProxy-Require:x\n"),
			smallest(method, "sip:alice@a.test", "sip:b@b", "Max-Forwards:0\n"),
			smallest(method, "sip:alice@a.test", "sip:b@b", "Route:<sip:>\n"),
			smallest(method, "sip:alice@a.test", "sip:b@b", "Content-Length:99\n"),
			smallest(method, "sip:a.test", "sip:alice@a.test", "Authorization:Digest x\n"),
			strings.Replace(smallest(method, "sip:a.test", "sip:b@b", ""), "SIP/2.0\n", "SIP/3.0\n", 1),
			strings.Replace(smallest(method, "sip:a.test", "sip:b@b", ""), "CSeq:1", "CSeq:x", 1),
			method+"\n\n", method+" x SIP/2.0\n\n",
		)
	}
	var conns []net.Conn
	for _, text := range requests {
		conn := from(t, l.udp, "127.0.0.5").conn
		if _, err := conn.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	// Timer G would have repeated a final response twice by then.
	until := time.Now().Add(1700 * time.Millisecond)
	var answered atomic.Int64
	var reading sync.WaitGroup
	for i, conn := range conns {
		reading.Go(func() {
			sent := len(requests[i]) + strings.Count(requests[i], "\n")
			got, err := allUntil(conn, until)
			switch {
			case err != nil:
				t.Error(err)
			case len(got) > mostAmplified*sent:
				t.Errorf("%d bytes for %d:\n%s\n%s", len(got), sent, requests[i], got)
			case len(got) > 0:
				answered.Add(1)
			}
		})
	}
	reading.Wait()
	if n := int(answered.Load()); n < len(requests)/2 {
		t.Errorf("only %d of %d were answered at all", n, len(requests))
	}
}

// allUntil returns all that comes until then.
func allUntil(conn net.Conn, until time.Time) (got []byte, err error) {
	conn.SetReadDeadline(until)
	for b := make([]byte, 64<<10); ; {
		n, err := conn.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, b[:n]...)
	}
}

var smallestID atomic.Uint64

// smallest returns a request of as few bytes as may be, its lines ended by \n.
func smallest(method, uri, from, more string) string {
	id := strconv.FormatUint(smallestID.Add(1), 36)
	return fmt.Sprintf("%s %s SIP/2.0\nv:SIP/2.0/UDP h;rport;branch=z9hG4bK%s\nf:<%s>;tag=1\nt:<%s>\ni:%s\nCSeq:1 %s\n%s\n",
		method, uri, id, from, uri, id, method, more)
}
