package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/sipway/sipway/sip"
)

// serverTLS returns what listeners of t shake hands with.
func (l *Layer) serverTLS(t sip.Transport) (*tls.Config, error) {
	if l.cfg.TLS == nil {
		return nil, ErrNoCertificate
	}
	cfg := withTLSDefaults(l.cfg.TLS)
	if t == sip.WSS {
		cfg.NextProtos = []string{"http/1.1"} // a WebSocket begins as HTTP/1.1 (RFC 6455 §4.1)
	}
	return cfg, nil
}

// withTLSDefaults returns a copy for our use.
func withTLSDefaults(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
	}
	cfg = cfg.Clone()
	if cfg.MinVersion < tls.VersionTLS12 {
		cfg.MinVersion = tls.VersionTLS12
	}
	cfg.DynamicRecordSizingDisabled = true // a message in one record is one write
	return cfg
}

func (l *Layer) listenTLS(addr string) (netip.AddrPort, error) {
	cfg, err := l.serverTLS(sip.TLS)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ln, err := l.listenStream(sip.TLS, addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	at := addrPort(ln.Addr())
	return at, l.serveTLS(ln, cfg, at)
}

func (l *Layer) serveTLS(ln *streamListener, cfg *tls.Config, at netip.AddrPort) error {
	if err := l.listening(sip.TLS, at, ln); err != nil {
		return err
	}
	l.start(func() {
		for {
			sock, err := ln.accept()
			if err != nil {
				return
			}
			l.shakeHands(sip.TLS, sock, cfg, func(st *tlsStream) { l.newConnection(sip.TLS, sock, st).start() })
		}
	})
	return nil
}

// shakeHands does the server's side of a handshake on a goroutine of its own and then calls
// then with the open stream. As many may be under way at a time as Config says: a handshake
// holds some 30 KB and costs a signature, and nobody who started one is known.
func (l *Layer) shakeHands(t sip.Transport, sock *socket, cfg *tls.Config, then func(*tlsStream)) {
	refuse := func(err error) {
		l.flows.shard(0).tally[t].refused.Add(1)
		sock.abort(err)
	}
	if l.handshakes.Add(1) > int64(l.cfg.MaxHandshakes) {
		l.handshakes.Add(-1)
		refuse(ErrTooMany)
		return
	}
	started := l.start(func() {
		st, err := l.handshake(sock, tls.Server, cfg, l.ctx)
		l.handshakes.Add(-1)
		if err != nil {
			l.cfg.Logger.Debug("TLS handshake failed", "remote", sock.RemoteAddr().String(), "err", err)
			refuse(err)
			return
		}
		then(st)
	})
	if !started {
		l.handshakes.Add(-1)
		refuse(ErrShutdown)
	}
}

// handshake does either side's part of a handshake.
func (l *Layer) handshake(sock *socket, side func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config, ctx context.Context) (*tlsStream, error) {
	if err := sock.SetReadDeadline(time.Now().Add(l.cfg.HandshakeTimeout)); err != nil {
		return nil, err
	}
	st := newTLSStream(sock, side, cfg)
	if err := st.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	st.wire.handshaking = false
	return st, sock.SetReadDeadline(time.Time{})
}

// tlsListener does the handshakes of a listener for net/http, which then has to do with a
// plain net.Conn.
type tlsListener struct {
	*streamListener
	cfg  *tls.Config
	open chan *tlsStream
}

func newTLSListener(ln *streamListener, cfg *tls.Config) *tlsListener {
	return &tlsListener{ln, cfg, make(chan *tlsStream)}
}

// accept begins a handshake for every connection, until the listener is closed.
func (ln *tlsListener) accept() {
	for {
		sock, err := ln.streamListener.accept()
		if err != nil {
			return
		}
		ln.layer.shakeHands(ln.transport, sock, ln.cfg, func(st *tlsStream) {
			select {
			case ln.open <- st:
			case <-ln.layer.ctx.Done():
				sock.abort(ErrShutdown)
			}
		})
	}
}

// Accept is for net/http.
func (ln *tlsListener) Accept() (net.Conn, error) {
	select {
	case st := <-ln.open:
		return st, nil
	case <-ln.layer.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Secured is what is known of the peer of a connection over TLS or WSS.
type Secured struct {
	// Domains are the SIP domains and host names that the peer's certificate names and a
	// certificate authority of ours vouches for (RFC 5922 §7.1); none for a client without
	// a certificate.
	Domains []string
	Version string // "TLS 1.3"
	Cipher  string
	Resumed bool // by a session ticket
}

// Secured describes the encryption of an open connection; ok is false where there is none.
func (l *Layer) Secured(id uint64) (s Secured, ok bool) {
	c := l.flows.get(id)
	if c == nil {
		return s, false
	}
	st, ok := c.stream.(*tlsStream)
	if !ok {
		return s, false
	}
	state := st.ConnectionState()
	s = Secured{Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), Resumed: state.DidResume}
	if len(state.VerifiedChains) > 0 {
		s.Domains = identities(state.PeerCertificates[0])
	} else if c.dialed && c.server.Name != "" {
		s.Domains = []string{c.server.Name}
	}
	return s, true
}
