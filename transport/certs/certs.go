// Package certs keeps the certificates of a TLS server: several of them, chosen by the name
// that the client asks for (RFC 6066 §3), and read again when their files change. Open
// connections go on with what they have; new ones get the new certificate.
//
// A file that can't be read, or whose certificate and key do not fit, leaves those in force
// that are there.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Pair are the PEM files of a certificate, with the chain behind it, and of its key. Both may
// be the same file.
type Pair struct{ Cert, Key string }

// Store has the certificates of some files. It is safe for concurrent use.
type Store struct {
	pairs []Pair
	set   atomic.Pointer[[]*tls.Certificate]
	seen  atomic.Pointer[[]fileState] // of the last attempt to read them
}

// Load reads the certificates. The first one is for clients that ask for no name or one that
// none is for.
func Load(pairs []Pair) (*Store, error) {
	if len(pairs) == 0 {
		return nil, errors.New("certs: no files")
	}
	s := &Store{pairs: slices.Clone(pairs)}
	return s, s.Reload()
}

// Reload reads all files again. With an error nothing changes.
func (s *Store) Reload() error {
	seen := s.look()
	s.seen.Store(&seen)
	set := make([]*tls.Certificate, len(s.pairs))
	var errs []error
	for i, p := range s.pairs {
		c, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate %s, key %s: %w", p.Cert, p.Key, err))
			continue
		}
		set[i] = &c
	}
	if errs == nil {
		s.set.Store(&set)
	}
	return errors.Join(errs...)
}

// Named returns the certificate for the name that the client asks for, nil if there is none.
func (s *Store) Named(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.TrimSuffix(hello.ServerName, ".")
	for _, c := range *s.set.Load() {
		// A client that has no elliptic curves may need another of the same name.
		if name != "" && c.Leaf.VerifyHostname(name) == nil && hello.SupportsCertificate(c) == nil {
			return c
		}
	}
	return nil
}

// Get is for [tls.Config] GetCertificate.
func (s *Store) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := s.Named(hello); c != nil {
		return c, nil
	}
	set := *s.set.Load()
	anyName := *hello
	anyName.ServerName = ""
	for _, c := range set {
		if anyName.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return set[0], nil
}

// Expires returns when the first of the certificates ends, and its file.
func (s *Store) Expires() (at time.Time, file string) {
	for i, c := range *s.set.Load() {
		if file == "" || c.Leaf.NotAfter.Before(at) {
			at, file = c.Leaf.NotAfter, s.pairs[i].Cert
		}
	}
	return at, file
}

// fileState changes with the file, also where a symbolic link is set to another one.
type fileState struct {
	size    int64
	changed time.Time
	id      os.FileInfo
}

func (a fileState) equal(b fileState) bool {
	return a.size == b.size && a.changed.Equal(b.changed) && (a.id == nil) == (b.id == nil) && (a.id == nil || os.SameFile(a.id, b.id))
}

func (s *Store) look() []fileState {
	var all []fileState
	for _, p := range s.pairs {
		for _, name := range [...]string{p.Cert, p.Key} {
			var f fileState
			if info, err := os.Stat(name); err == nil {
				f = fileState{info.Size(), info.ModTime(), info}
			}
			all = append(all, f)
		}
	}
	return all
}

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

// Watch looks after the files every so often until ctx ends, reads them again when they
// have changed, and warns once a day of a certificate that ends soon. It looks rather than
// being told, which works on every file system and with every way to put a file there.
func (s *Store) Watch(ctx context.Context, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var warned time.Time
	for {
		if at, file := s.Expires(); time.Until(at) < expiresSoon && time.Since(warned) > 24*time.Hour {
			warned = time.Now()
			log.Warn("certificate ends soon", "file", file, "at", at.UTC().Format(time.RFC3339))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if slices.EqualFunc(s.look(), *s.seen.Load(), fileState.equal) {
			continue
		}
		if err := s.Reload(); err != nil {
			log.Error("certificates not read again, the old ones stay in force", "error", err)
			continue
		}
		log.Info("certificates read again")
	}
}

// Pool reads a file of PEM certificates of authorities.
func Pool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in PEM form", file)
	}
	return pool, nil
}
