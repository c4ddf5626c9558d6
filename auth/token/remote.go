package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// refreshEvery is how often the URL is asked, so that a key that was withdrawn there is
	// withdrawn here; retryEvery after a failure.
	refreshEvery = 5 * time.Minute
	retryEvery   = 10 * time.Second

	// minRefresh is the least time between two requests that tokens with unknown keys bring
	// about: anybody can make one up.
	minRefresh = 5 * time.Second

	fetchTimeout = 5 * time.Second
	maxSet       = 1 << 20 // bytes of a JWK Set
)

// remote is a JWK Set behind a URL. What was fetched last is used until there is something
// newer, also while the URL can't be had.
type remote struct {
	url    string
	client *http.Client
	log    *slog.Logger

	mu     sync.Mutex
	keys   []key         // replaced, never modified
	asked  time.Time     // when the last request began
	flight chan struct{} // closed when the request under way has ended, nil for none
	down   bool          // the last one failed, which was logged
}

func newRemote(url string, client *http.Client, log *slog.Logger) *remote {
	if client == nil {
		client = &http.Client{Timeout: fetchTimeout}
	}
	return &remote{url: url, client: client, log: log}
}

func (r *remote) known() []key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys
}

// run asks the URL now and again until ctx ends.
func (r *remote) run(ctx context.Context) {
	for {
		wait := refreshEvery
		if !r.fetch(ctx) {
			wait = retryEvery
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// refresh asks the URL, unless that was done just now, and waits for the answer. However many
// ask, there is one request.
func (r *remote) refresh(ctx context.Context) {
	r.mu.Lock()
	flight := r.flight
	if flight == nil {
		if time.Since(r.asked) < minRefresh {
			r.mu.Unlock()
			return
		}
		flight = r.begin()
		go r.do(context.WithoutCancel(ctx), flight)
	}
	r.mu.Unlock()
	select {
	case <-flight:
	case <-ctx.Done():
	}
}

// fetch asks the URL, or waits for the request under way, and reports success.
func (r *remote) fetch(ctx context.Context) bool {
	r.mu.Lock()
	flight := r.flight
	mine := flight == nil
	if mine {
		flight = r.begin()
	}
	r.mu.Unlock()
	if mine {
		r.do(ctx, flight)
	} else {
		<-flight
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.down
}

// begin notes a request. The caller holds mu.
func (r *remote) begin() chan struct{} {
	r.asked, r.flight = time.Now(), make(chan struct{})
	return r.flight
}

// do makes the request that was begun, and takes its keys.
func (r *remote) do(ctx context.Context, flight chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	keys, err := r.get(ctx)
	r.mu.Lock()
	was := r.down
	if r.down = err != nil; err == nil {
		r.keys = keys
	}
	r.flight = nil
	r.mu.Unlock()
	close(flight)
	switch {
	case err != nil && !was:
		r.log.Warn("keys of tokens can't be fetched, those known are used on", "url", r.url, "keys", len(r.known()), "error", err)
	case err == nil && was:
		r.log.Info("keys of tokens are fetched again", "url", r.url, "keys", len(keys))
	}
}

func (r *remote) get(ctx context.Context) ([]key, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSet+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSet {
		return nil, errors.New("the answer is too large")
	}
	keys, err := parseSet(text, false)
	if err == nil && len(keys) == 0 {
		err = errors.New("the answer has no key for us")
	}
	return keys, err
}
