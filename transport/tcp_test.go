package transport

import (
	"bufio"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
)

func TestTCPRequestAndResponse(t *testing.T) {
	l, r := newLayer(t, Config{})
	at := listen(t, l, sip.TCP)
	c := dialStream(t, at)
	write(t, c, request(sip.TCP, 1))
	e := expectSeq(t, r, 1)

	local := addrPort(c.LocalAddr())
	if e.flow.Transport != sip.TCP || e.flow.Local != at || e.flow.Remote != local || e.flow.ID == 0 {
		t.Errorf("flow %+v", e.flow)
	}
	via := e.m.Via()
	if via.Received != "127.0.0.1" || via.RPort != int(local.Port()) {
		t.Errorf("Via says received=%s rport=%d, client is at %v", via.Received, via.RPort, local)
	}
	if f, ok := l.Flow(e.flow.ID); !ok || f != e.flow || !l.Alive(e.flow) {
		t.Error("the flow is not found")
	}
	if err := l.Send(e.flow, []byte("SIP/2.0 200 OK\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(c).ReadString('\n'); line != "SIP/2.0 200 OK\r\n" {
		t.Errorf("got %q", line)
	}

	c.Close()
	if e := next(t, r.closed); e.err != io.EOF {
		t.Errorf("closed by %v", e.err)
	}
	if err := l.Send(e.flow, []byte("x")); !errors.Is(err, ErrFlowClosed) || l.Alive(e.flow) {
		t.Errorf("after the close: %v", err)
	}
}

func TestTCPFraming(t *testing.T) {
	whole := request(sip.TCP, 1) + requestBody(sip.TCP, 2, strings.Repeat("b", 3000)) + "\r\n" + request(sip.TCP, 3)
	for _, size := range []int{1, 7, 1000, len(whole)} {
		l, r := newLayer(t, Config{})
		c := dialStream(t, listen(t, l, sip.TCP))
		for s := whole; s != ""; {
			n := min(size, len(s))
			write(t, c, s[:n])
			s = s[n:]
		}
		for n := 1; n <= 3; n++ {
			expectSeq(t, r, n)
		}
		c.Close()
		next(t, r.closed)
		none(t, r.malformed)
	}
}

func TestTCPPing(t *testing.T) {
	l, r := newLayer(t, Config{})
	c := dialStream(t, listen(t, l, sip.TCP))
	write(t, c, "\r\n\r\n"+request(sip.TCP, 1)+"\r\n\r\n\r\n\r\n")
	pong := make([]byte, 6)
	if _, err := io.ReadFull(c, pong); err != nil || string(pong) != "\r\n\r\n\r\n" {
		t.Fatalf("%q, %v", pong, err)
	}
	expectSeq(t, r, 1)
}

// TestTCPMalformed: what breaks only a message leaves the connection open, what breaks the
// framing ends it, and the answer reaches the peer in both cases.
func TestTCPMalformed(t *testing.T) {
	good := request(sip.TCP, 2)
	for _, test := range []struct {
		name, input string
		status      int
		open        bool
	}{
		{"bad CSeq", strings.Replace(request(sip.TCP, 1), "CSeq: 1", "CSeq: x", 1), 400, true},
		{"no Content-Length", strings.Replace(request(sip.TCP, 1), "Content-Length: 0\r\n", "", 1), 400, false},
		{"too large", strings.Replace(request(sip.TCP, 1), "Length: 0", "Length: 70000", 1), 513, false},
		{"endless head", strings.Repeat("x", 100<<10), 513, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, r := newLayer(t, Config{})
			c := dialStream(t, listen(t, l, sip.TCP))
			answered := make(chan string)
			go func() {
				b, _ := io.ReadAll(c)
				answered <- string(b)
			}()
			// More than the server reads before it closes: the answer must survive that.
			write(t, c, test.input+good)
			e := next(t, r.malformed)
			if fault, ok := errors.AsType[*sip.Error](e.err); !ok || fault.Status != test.status {
				t.Errorf("error %v", e.err)
			}
			if e.m != nil && e.m.Via().Received == "" {
				t.Error("no received parameter")
			}
			if test.open {
				expectSeq(t, r, 2)
				c.Close()
			}
			next(t, r.closed)
			next(t, answered)
		})
	}
}

// TestTCPAnswerBeforeClose: the last answer on a connection whose framing is lost arrives,
// though the server has not read all that was sent.
func TestTCPAnswerBeforeClose(t *testing.T) {
	const answer = "SIP/2.0 513 Message Too Large\r\nContent-Length: 0\r\n\r\n"
	h := &answerer{recorder: newRecorder(), answer: answer}
	l, _ := newLayer(t, Config{})
	h.layer = l
	l.Handle(h)
	c := dialStream(t, listen(t, l, sip.TCP))
	write(t, c, strings.Repeat("x", 100<<10))
	b, err := io.ReadAll(c)
	if string(b) != answer || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

type answerer struct {
	*recorder
	layer  *Layer
	answer string
}

func (a *answerer) Malformed(f sip.Flow, _ *sip.Message, _ error) {
	a.layer.Send(f, []byte(a.answer))
}

func TestTCPDeadlines(t *testing.T) {
	for _, test := range []struct {
		name  string
		input []string // one after each second
		want  error
		after time.Duration
	}{
		{"silent", nil, ErrNoMessage, 30 * time.Second},
		{"only pings", []string{"\r\n\r\n"}, ErrNoMessage, 30 * time.Second},
		{"slow message", strings.SplitAfter(request(sip.TCP, 1)[:30], ""), ErrSlowMessage, 20 * time.Second},
		{"slow second message", []string{request(sip.TCP, 1) + "MESS", "AGE"}, ErrSlowMessage, 20 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, r := newLayer(t, Config{})
				start := time.Now()
				c := listenMem(t, l, sip.TCP).Dial()
				go io.Copy(io.Discard, c)
				var writer sync.WaitGroup
				writer.Go(func() {
					for _, s := range test.input {
						if _, err := io.WriteString(c, s); err != nil {
							return
						}
						<-time.After(time.Second)
					}
				})
				defer writer.Wait()
				e := <-r.closed
				if took := time.Since(start); e.err != test.want || took != test.after {
					t.Errorf("closed after %v: %v", took, e.err)
				}
			})
		})
	}
}

// TestTCPStaysOpen: after a valid message a connection may be silent for ever.
func TestTCPStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLayer(t, Config{})
		c := listenMem(t, l, sip.TCP).Dial()
		write(t, c, request(sip.TCP, 1)[:100])
		write(t, c, request(sip.TCP, 1)[100:])
		e := <-r.received
		<-time.After(24 * time.Hour)
		if !l.Alive(e.flow) {
			t.Error("closed")
		}
	})
}

func TestMaxConnections(t *testing.T) {
	l, r := newLayer(t, Config{MaxConnections: 1})
	at := listen(t, l, sip.TCP)
	first := dialStream(t, at)
	write(t, first, request(sip.TCP, 1))
	expectSeq(t, r, 1)
	second := dialStream(t, at)
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Fatal("the second connection was not closed")
	}
	if n := l.Stats()[sip.TCP].Refused; n != 1 {
		t.Errorf("%d refused", n)
	}
	first.Close()
	next(t, r.closed)
	// The place is free when the server has closed its own end, which follows.
	for deadline := time.Now().Add(patience); len(l.openSockets()) > 0 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	write(t, dialStream(t, at), request(sip.TCP, 2))
	expectSeq(t, r, 2)
}

func TestCloseFlow(t *testing.T) {
	l, r := newLayer(t, Config{})
	c := dialStream(t, listen(t, l, sip.TCP))
	write(t, c, request(sip.TCP, 1))
	f := expectSeq(t, r, 1).flow
	reason := errors.New("reason")
	l.CloseFlow(f.ID, reason)
	if l.Alive(f) {
		t.Error("alive after CloseFlow")
	}
	if e := next(t, r.closed); e.err != reason || e.flow != f {
		t.Errorf("closed: %+v", e)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("peer sees %v", err)
	}
}
