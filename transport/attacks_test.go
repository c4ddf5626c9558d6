package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

const upgradeHead = "GET / HTTP/1.1\r\nHost: sip.example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n"

// Who takes his time (slow-loris) holds a connection for no longer than what he began may
// take, on every transport, however often he adds a byte.
func TestSlowLoris(t *testing.T) {
	ca := newAuthority(t)
	server := ca.serverConfig(t)
	for _, test := range []struct {
		name      string
		transport sip.Transport
		first     string // at once
		drip      string // then a byte a second
		within    time.Duration
	}{
		{"HTTP head", sip.WS, "", upgradeHead + "X: " + strings.Repeat("x", 1000), 10 * time.Second},
		{"HTTP body that nobody wants", sip.WS, "GET /other HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", strings.Repeat("x", 1000), 10 * time.Second},
		{"HTTP body, chunked", sip.WS, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n", strings.Repeat("x", 1000), 10 * time.Second},
		{"no second HTTP request", sip.WS, "GET /other HTTP/1.1\r\nHost: a\r\n\r\n", "", 10 * time.Second},
		{"HTTP head over TLS", sip.WSS, "", upgradeHead + "X: " + strings.Repeat("x", 1000), 10 * time.Second},
		{"HTTP body over TLS", sip.WSS, "GET /other HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", strings.Repeat("x", 1000), 10 * time.Second},
		{"head of a message over TCP", sip.TCP, "", request(sip.TCP, 1), 20 * time.Second},
		{"body over TCP", sip.TCP, requestBody(sip.TCP, 1, strings.Repeat("x", 1000))[:300], strings.Repeat("x", 1000), 20 * time.Second},
		{"head of a message over TLS", sip.TLS, "", request(sip.TLS, 1), 20 * time.Second},
		{"line ends alone", sip.TCP, "", strings.Repeat("\r\n", 1000), 30 * time.Second},
		{"nothing", sip.TCP, "", "", 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New(Config{TLS: server}, newRecorder())
				c := listenMem(t, l, test.transport).Dial()
				if test.transport.Secure() {
					c = tls.Client(c, ca.clientConfig())
				}
				write(t, c, test.first)
				start := time.Now()
				closed := make(chan time.Duration, 1)
				go func() {
					io.Copy(io.Discard, c)
					closed <- time.Since(start)
				}()
				tick := time.NewTicker(time.Second)
				defer tick.Stop()
				for drip := test.drip; ; {
					select {
					case took := <-closed:
						// The goodbye may take what a linger does.
						if took < test.within-2*time.Second || took > test.within+2*time.Second {
							t.Errorf("closed after %v, want about %v", took, test.within)
						}
						c.Close()
						l.Shutdown(context.Background())
						return
					case <-tick.C:
					}
					if time.Since(start) > 3*test.within {
						t.Errorf("still open after %v", time.Since(start))
						c.Close()
					}
					if drip != "" {
						io.WriteString(c, drip[:1]) // fails once it is closed
						drip = drip[1:]
					}
				}
			})
		})
	}
}

// Two lengths, none, or one that is none can hide a second message from whoever stands
// before us (RFC 3261 §18.3): the stream ends, and what follows is not read.
func TestContentLengthSmuggling(t *testing.T) {
	ca := newAuthority(t)
	hidden := request(sip.TCP, 2)
	for _, lengths := range []string{
		"Content-Length: 0\r\nContent-Length: %d", "Content-Length: %d\r\nContent-Length: 0", "Content-Length: 0\r\nl: %d",
		"Content-Length: 0, %d", "Content-Length: -0", "Content-Length: +%d", "Content-Length: 0x10",
		"Content-Length: 99999999999999999999", "Content-Length:", "Content-Length : 0\r\nContent-Length: %d", "X-None: %d",
	} {
		for _, tr := range []sip.Transport{sip.TCP, sip.TLS} {
			t.Run(fmt.Sprintf("%q %v", lengths, tr), func(t *testing.T) {
				l, r := newLayer(t, Config{TLS: ca.serverConfig(t)})
				var c net.Conn = dialStream(t, listen(t, l, tr))
				if tr == sip.TLS {
					c = tls.Client(c, ca.clientConfig())
				}
				if strings.Contains(lengths, "%d") {
					lengths = fmt.Sprintf(lengths, len(hidden))
				}
				write(t, c, strings.Replace(request(tr, 1), "Content-Length: 0", lengths, 1)+hidden)
				next(t, r.malformed)
				if e := next(t, r.closed); e.err == nil {
					t.Error("closed for no reason")
				}
				none(t, r.received)
			})
		}
	}
}

// Compression is never agreed to (RFC 7692 §5), so a small frame can't become a large
// message; a frame that says it is compressed ends the connection.
func TestWSDecompressionBomb(t *testing.T) {
	l, r := newLayer(t, Config{})
	at := listen(t, l, sip.WS)
	c := dialStream(t, at)
	write(t, c, upgradeHead+"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("agreed to %q", got)
	}
	const rsv1 = 0x40
	write(t, c, clientFrame(final|rsv1|opText, strings.Repeat("\x00", 1000))+clientFrame(final|opText, request(sip.WS, 1)))
	next(t, r.closed)
	none(t, r.received)
}

// Fragments (RFC 6455 §5.4) are bounded by the size of what they make and by the time of a
// message, also those that have no bytes at all.
func TestWSFragmentBombs(t *testing.T) {
	t.Run("above the size", func(t *testing.T) {
		l, r := newLayer(t, Config{MaxMessage: 4 << 10})
		c := rawWS(t, listen(t, l, sip.WS), "")
		go io.WriteString(c, clientFrame(opText, "x")+strings.Repeat(clientFrame(0, "x"), 5<<10))
		if e := next(t, r.closed); !errors.Is(e.err, websocket.ErrMessageTooBig) {
			t.Errorf("closed by %v", e.err)
		}
		none(t, r.received)
	})
	t.Run("a length above any", func(t *testing.T) {
		l, r := newLayer(t, Config{MaxMessage: 4 << 10})
		c := rawWS(t, listen(t, l, sip.WS), "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04")
		go io.WriteString(c, strings.Repeat("x", 8<<10))
		if e := next(t, r.closed); !errors.Is(e.err, websocket.ErrMessageTooBig) {
			t.Errorf("closed by %v", e.err)
		}
		none(t, r.received)
	})
	t.Run("a control frame in parts", func(t *testing.T) {
		l, r := newLayer(t, Config{})
		rawWS(t, listen(t, l, sip.WS), clientFrame(opPing, "x")+clientFrame(final, "y"))
		next(t, r.closed)
	})
	t.Run("without an end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRecorder()
			l := New(Config{PingInterval: -1}, r)
			m := listenMem(t, l, sip.WS)
			c := m.Dial()
			write(t, c, upgradeHead+"\r\n")
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, c)
			write(t, c, clientFrame(final|opText, request(sip.WS, 1)))
			next(t, r.received)
			start := time.Now()
			write(t, c, clientFrame(opText, "INVITE"))
			var sender sync.WaitGroup
			sender.Go(func() {
				for range 10_000 {
					<-time.After(10 * time.Millisecond)
					if _, err := io.WriteString(c, clientFrame(0, "")); err != nil {
						return
					}
				}
				t.Error("never closed")
			})
			if e := <-r.closed; !errors.Is(e.err, ErrSlowMessage) || time.Since(start) > 21*time.Second {
				t.Errorf("after %v: %v", time.Since(start), e.err)
			}
			l.Shutdown(context.Background())
			c.Close()
			sender.Wait()
		})
	})
}

// Handshakes that are begun and not ended take no room from those who are connected, and
// what one source has above its share is closed as it comes.
func TestHalfOpenHandshakes(t *testing.T) {
	ca := newAuthority(t)
	const limit = 50
	l, r := newLayer(t, Config{TLS: ca.serverConfig(t), MaxHalfOpen: freshShare * limit, HandshakeTimeout: time.Second})
	at := listen(t, l, sip.TLS)
	phone, err := tls.Dial("tcp", at.String(), ca.clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	write(t, phone, request(sip.TLS, 1))
	expectSeq(t, r, 1)
	var attackers []net.Conn
	for range 10 * limit {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			io.WriteString(c, "\x16\x03\x01\x01\x00\x01")
			attackers = append(attackers, c)
		}
	}
	l.mu.Lock()
	n := l.census.fresh
	l.mu.Unlock()
	if n > limit {
		t.Errorf("%d handshakes at a time", n)
	}
	write(t, phone, request(sip.TLS, 2))
	expectSeq(t, r, 2)
	for _, c := range attackers {
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Fatal("a half-open handshake stays")
		}
		c.Close()
	}
	late, err := tls.Dial("tcp", at.String(), ca.clientConfig())
	if err != nil {
		t.Fatalf("after the attack: %v", err)
	}
	late.Close()
}

// lastRecord remembers the type of the last TLS record that was read.
type lastRecord struct {
	net.Conn
	kind byte
	left int
	head []byte
}

func (l *lastRecord) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	for b := p[:n]; len(b) > 0; {
		if l.left > 0 {
			k := min(l.left, len(b))
			l.left, b = l.left-k, b[k:]
			continue
		}
		l.head, b = append(l.head, b[0]), b[1:]
		if len(l.head) == 5 {
			l.kind, l.left, l.head = l.head[0], int(l.head[3])<<8|int(l.head[4]), nil
		}
	}
	return n, err
}

// An end that is ours is told: by TLS, so that nobody can have cut the stream short (RFC 8446
// §6.1), and over WSS before that by the close code of a restart.
func TestTLSGoodbye(t *testing.T) {
	const alert = 21
	ca := newAuthority(t)
	for _, tr := range []sip.Transport{sip.TLS, sip.WSS} {
		t.Run(tr.String(), func(t *testing.T) {
			l, r := newLayer(t, Config{TLS: ca.serverConfig(t)})
			raw := &lastRecord{Conn: dialStream(t, listen(t, l, tr))}
			cfg := ca.clientConfig()
			cfg.MaxVersion = tls.VersionTLS12 // whose records say that they are alerts
			c := tls.Client(raw, cfg)
			if tr == sip.WSS {
				write(t, c, upgradeHead+"\r\n"+clientFrame(final|opText, request(tr, 1)))
			} else {
				write(t, c, request(tr, 1))
			}
			expectSeq(t, r, 1)
			read := make(chan string, 1)
			go func() {
				b, err := io.ReadAll(c)
				if err != nil {
					t.Error(err)
				}
				c.Close()
				read <- string(b)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := l.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			got := next(t, read)
			if tr == sip.WSS && !strings.HasSuffix(got, "\x88\x02\x03\xf4") {
				t.Errorf("the last frame of %q is no close with 1012", got)
			}
			if raw.kind != alert {
				t.Errorf("the last record was of type %d", raw.kind)
			}
		})
	}
}
