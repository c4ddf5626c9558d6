package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// write makes a certificate of its own for the names, and both files, in one step each as
// those who renew certificates do.
func write(t *testing.T, p Pair, ends time.Time, legacy bool, names ...string) {
	t.Helper()
	var key any
	var public any
	if legacy {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := map[string][]byte{}
	text[p.Cert] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text[p.Key] = append(text[p.Key], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	for name, b := range text {
		put(t, name, b)
	}
}

func put(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// names shakes hands with a server that has the store and returns the names of the
// certificate that it got.
func names(t *testing.T, s *Store, ask string, suites ...uint16) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go tls.Server(server, &tls.Config{GetCertificate: s.Get}).Handshake()
	cfg := &tls.Config{ServerName: ask, InsecureSkipVerify: true}
	if suites != nil {
		cfg.CipherSuites, cfg.MaxVersion = suites, tls.VersionTLS12
	}
	c := tls.Client(client, cfg)
	if err := c.Handshake(); err != nil {
		t.Fatalf("asked for %q: %v", ask, err)
	}
	return strings.Join(c.ConnectionState().PeerCertificates[0].DNSNames, " ")
}

func pair(dir, name string) Pair {
	return Pair{filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")}
}

func TestChoice(t *testing.T) {
	dir, later := t.TempDir(), time.Now().Add(90*24*time.Hour)
	pairs := []Pair{pair(dir, "a"), pair(dir, "b"), pair(dir, "c"), pair(dir, "old")}
	write(t, pairs[0], later, false, "first.test")
	write(t, pairs[1], later, false, "b.test", "*.b.test")
	write(t, pairs[2], later.Add(-time.Hour), false, "c.test")
	write(t, pairs[3], later, true, "c.test", "rsa")
	s, err := Load(pairs)
	if err != nil {
		t.Fatal(err)
	}
	const rsaOnly = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	for _, test := range []struct {
		ask    string
		suites []uint16
		want   string
	}{
		{"b.test", nil, "b.test *.b.test"},
		{"B.test.", nil, "b.test *.b.test"},
		{"sip.b.test", nil, "b.test *.b.test"},
		{"other.test", nil, "first.test"},
		{"", nil, "first.test"},
		{"c.test", nil, "c.test"},
		{"c.test", []uint16{rsaOnly}, "c.test rsa"},
		{"first.test", []uint16{rsaOnly}, "c.test rsa"},
	} {
		if got := names(t, s, test.ask, test.suites...); got != test.want {
			t.Errorf("asked for %q with %d suites: got %q, want %q", test.ask, len(test.suites), got, test.want)
		}
	}
	if at, file := s.Expires(); file != pairs[2].Cert || time.Until(at) > 90*24*time.Hour {
		t.Errorf("first to end: %s at %v", file, at)
	}
}

func TestLoadFails(t *testing.T) {
	dir := t.TempDir()
	a, b := pair(dir, "a"), pair(dir, "b")
	write(t, a, time.Now().Add(time.Hour), false, "a.test")
	write(t, b, time.Now().Add(time.Hour), false, "b.test")
	for _, test := range []struct {
		pairs []Pair
		want  string
	}{
		{nil, "no files"},
		{[]Pair{{a.Cert, filepath.Join(dir, "none")}}, "no such file"},
		{[]Pair{{a.Cert, b.Key}}, "private key does not match"},
		{[]Pair{a, {b.Key, b.Key}}, b.Key},
	} {
		if _, err := Load(test.pairs); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v", test.pairs, err)
		}
	}
	if _, err := Pool(a.Key); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Error(err)
	}
	if _, err := Pool(a.Cert); err != nil {
		t.Error(err)
	}
}

// lines is a log of which each line can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (l *lines) await(t *testing.T, what string) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		l.mu.Lock()
		there := strings.Contains(l.text.String(), what)
		if there {
			l.text.Reset()
		}
		l.mu.Unlock()
		if there {
			return
		}
		select {
		case <-l.more:
		case <-limit:
			t.Fatalf("no %q in the log", what)
		}
	}
}

// A renewed certificate is used from then on; a broken one is not.
func TestWatch(t *testing.T) {
	p := pair(t.TempDir(), "a")
	write(t, p, time.Now().Add(time.Hour), false, "old.test")
	s, err := Load([]Pair{p})
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Watch(ctx, 5*time.Millisecond, slog.New(slog.NewTextHandler(log, nil)))
	}()
	log.await(t, "ends soon")
	put(t, p.Cert, []byte("half a file"))
	log.await(t, "the old ones stay in force")
	if got := names(t, s, "old.test"); got != "old.test" {
		t.Errorf("with a broken file: %q", got)
	}
	write(t, p, time.Now().Add(time.Hour), false, "new.test")
	log.await(t, "read again\"")
	if got := names(t, s, "old.test"); got != "new.test" {
		t.Errorf("after the renewal: %q", got)
	}
	cancel()
	<-done
}
