package transport

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/sipway/sipway/sip"
)

// Config holds the limits and timers of a [Layer]. A zero field has the default that its
// comment names.
type Config struct {
	// MaxMessage is the size in bytes above which a message is refused: with 513 over UDP
	// and TCP, with close code 1009 over WebSocket. Default [sip.MaxMessage].
	MaxMessage int

	// OutQueue is how many bytes may wait for a peer that doesn't read before its
	// connection is closed. Default 256 KiB: some eighty INVITEs of a browser.
	OutQueue int

	// WriteTimeout is how long a peer may take none of what waits for it. Default 10 s.
	WriteTimeout time.Duration

	// PingInterval is the time between two WebSocket pings of a connection, of which up to
	// a fifth is taken off at random. Default 30 s, which most NATs and load balancers
	// survive; negative: no pings.
	PingInterval time.Duration

	// PingTimeout is how long a pinged peer may stay silent: neither a pong nor any other
	// byte. Default 10 s, as in RFC 5626 §4.4.1.
	PingTimeout time.Duration

	// ProbeAfter is how long a peer may have been silent before a request that is sent to
	// it is followed by a probe. Default 10 s.
	ProbeAfter time.Duration

	// ProbeTimeout is how long such a peer may take to show that it is there. Default 1 s.
	ProbeTimeout time.Duration

	// FirstMessageTimeout is how long a connection may be open without having sent one
	// valid SIP message. Default 30 s; negative: for ever.
	FirstMessageTimeout time.Duration

	// MessageTimeout is how long a message may take from its first byte to its last.
	// Default 20 s.
	MessageTimeout time.Duration

	// DialTimeout bounds the set-up of an outgoing connection. Default 5 s.
	DialTimeout time.Duration

	// TLS is for the listeners of TLS and WSS, which need a certificate; DialTLS for the
	// connections that we open: its roots, nil for the system's, and our own certificate
	// for servers that ask for one. Neither is modified. TLS 1.2 is the least.
	TLS, DialTLS *tls.Config

	// HandshakeTimeout is how long a TLS handshake, or a front end's header, may take.
	// Default 10 s.
	HandshakeTimeout time.Duration

	// MaxHalfOpen bounds the accepted connections that have not sent a valid message yet, on
	// whatever that waits: a TLS handshake, an upgrade, a first byte. An eighth of them may be of one
	// source. Above it the oldest one makes room if it is older than a second, else the
	// new one is closed as soon as it is accepted. Default 0: no bound.
	MaxHalfOpen int

	// MaxPerSource bounds the accepted connections of one source, which is an IPv4 address
	// or the /64 of an IPv6 one. Default 0: no bound.
	MaxPerSource int

	// AdmitFrom reports whether a connection from the address is to be taken, Admit whether a
	// message that has arrived on f, its bytes not looked at yet, is to be read; b is
	// valid during the call. What isn't is dropped over UDP, and ends the connection it came over.
	// Exempt reports whether an address is free of MaxHalfOpen and MaxPerSource. Default nil: everybody is
	// admitted, nobody exempt.
	AdmitFrom func(netip.Addr) bool
	Admit     func(f sip.Flow, b []byte) bool
	Exempt    func(netip.Addr) bool

	// Proxies are the front ends whose word on where a connection comes from is taken: by
	// the PROXY protocol on listeners that expect it, by X-Forwarded-For in a WebSocket
	// handshake. Default none.
	Proxies []netip.Prefix

	// MaxConnections bounds the open stream connections, accepted and dialled. What is
	// above is closed as soon as it is accepted. Default 0: no bound but the system's.
	MaxConnections int

	// CheckOrigin decides on a WebSocket handshake by its Origin header, or anything else
	// in it. Default nil: all are accepted.
	CheckOrigin func(*http.Request) bool

	// Identify decides on a WebSocket handshake, once its form and its origin are right, by
	// who asks. It returns what is to be told of the flow before its first message is
	// received, nil for nothing, or why the handshake is refused. Default nil.
	Identify func(*http.Request) (opened func(sip.Flow), refusal *Refusal)

	// HTTP serves what is asked of a WebSocket listener besides its WebSocket. Default nil:
	// there is nothing else.
	HTTP http.Handler

	// Logger gets what an operator must know. Default [slog.Default].
	Logger *slog.Logger

	clock clock
}

// Refusal answers a WebSocket handshake that is not wanted.
type Refusal struct {
	Status    int
	Text      string // for people
	Challenge string // WWW-Authenticate, "" for none
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxMessage, sip.MaxMessage)
	setDefault(&c.OutQueue, 256<<10)
	setDefault(&c.WriteTimeout, 10*time.Second)
	setDefault(&c.PingInterval, 30*time.Second)
	setDefault(&c.PingTimeout, 10*time.Second)
	setDefault(&c.ProbeAfter, 10*time.Second)
	setDefault(&c.ProbeTimeout, time.Second)
	setDefault(&c.FirstMessageTimeout, 30*time.Second)
	setDefault(&c.MessageTimeout, 20*time.Second)
	setDefault(&c.DialTimeout, 5*time.Second)
	setDefault(&c.HandshakeTimeout, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.clock.began = time.Now()
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
