package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
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

// prepare reads what a new connection begins with, on a goroutine of its own: the header of a
// front end, a TLS handshake. Then it calls then. Until it has sent a message, the connection
// is one of those that Config.MaxHalfOpen bounds: a handshake holds some 30 KB and costs a
// signature, and nobody who began one is known.
func (l *Layer) prepare(ln *streamListener, sock *socket, then func(*socket, stream)) {
	refuse := func(err error) {
		l.flows.shard(0).tally[ln.transport].refused.Add(1)
		sock.abort(err)
	}
	started := l.start(func() {
		st, err := l.begin(ln, sock)
		if err != nil {
			attrs := []any{"listener", ln.Addr().String(), "remote", sock.RemoteAddr().String(), "err", err}
			if doubted := new(tls.CertificateVerificationError); errors.As(err, &doubted) {
				// A peer that is set up wrongly, or we are: both sides look for it here.
				l.tell("certificate refused", append(attrs, "certificate", identities(doubted.UnverifiedCertificates[0]))...)
			} else {
				l.cfg.Logger.Debug("connection refused", attrs...)
			}
			refuse(err)
			return
		}
		then(sock, st)
	})
	if !started {
		refuse(ErrShutdown)
	}
}

// begin returns the stream on an accepted socket.
func (l *Layer) begin(ln *streamListener, sock *socket) (stream, error) {
	if err := sock.SetReadDeadline(time.Now().Add(l.cfg.HandshakeTimeout)); err != nil {
		return nil, err
	}
	if ln.Proxied {
		if err := l.readPreamble(sock); err != nil {
			return nil, err
		}
	}
	st := stream(sock)
	if ln.tls != nil {
		var err error
		if st, err = l.handshake(l.ctx, sock, tls.Server, ln.tls); err != nil {
			return nil, err
		}
	}
	return st, sock.SetReadDeadline(time.Time{})
}

// handshake does either side's part of a handshake.
func (l *Layer) handshake(ctx context.Context, sock *socket, side func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config) (*tlsStream, error) {
	st := newTLSStream(sock, side, cfg)
	if err := st.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	st.wire.handshaking = false
	return st, nil
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
