package registrar

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// Keepalive says how the way to a UDP client behind a NAT is kept open.
type Keepalive int

// The ways. A datagram with line ends costs least; some NATs count only what goes out,
// which the answer to an OPTIONS does.
const (
	KeepNothing Keepalive = iota
	KeepCRLF
	KeepOptions
)

// keepaliveTick is how often keepalives are sent: to each client once in an interval, and
// to different clients at different ticks, so that they never go out all at once.
const keepaliveTick = 250 * time.Millisecond

// natClients are the UDP clients whose contact is not where they send from. There is one
// ticker for all of them, and none while there are none.
type natClients struct {
	mu      sync.Mutex // guards what follows
	slots   [][]*natClient
	clients map[sip.Flow]*natClient
	next    int // slot

	wake chan struct{} // there are clients again
}

// natClient is one of them; users behind one address and port are one client.
type natClient struct {
	flow    sip.Flow
	aor     string // of the binding that keeps it, and its contact
	contact string
	expires time.Time
}

func (x *natClients) init(interval time.Duration) {
	x.slots = make([][]*natClient, max(interval/keepaliveTick, 1))
	x.clients = make(map[sip.Flow]*natClient)
	x.wake = make(chan struct{}, 1)
}

// keepNAT keeps the way open to what was bound over the flow, if it needs that.
func (r *Registrar) keepNAT(f sip.Flow, bindings []store.Binding) {
	if f.Transport != sip.UDP || r.cfg.Keepalive == KeepNothing {
		return
	}
	for i := range bindings {
		if b := &bindings[i]; b.Flow == f && behindNAT(b) {
			r.keep(b)
		}
	}
}

// behindNAT reports whether a UDP client's contact names another address than it sends
// from. Behind a Path it is the edge proxy's.
func behindNAT(b *store.Binding) bool {
	uri, err := sip.ParseURI(b.Contact)
	return err == nil && namesOther(b, &uri)
}

// namesOther is behindNAT for a contact that has been read.
func namesOther(b *store.Binding, uri *sip.URI) bool {
	if b.Path != "" {
		return false
	}
	addr, ok := sip.HostAddr(uri.Host)
	return !ok || addr != b.Flow.Remote.Addr().Unmap()
}

func (r *Registrar) keep(b *store.Binding) {
	x := &r.nat
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.clients[b.Flow]
	if c == nil {
		c = &natClient{flow: b.Flow}
		x.clients[b.Flow] = c
		slot := &x.slots[rand.IntN(len(x.slots))]
		*slot = append(*slot, c)
	}
	c.aor, c.contact, c.expires = b.AOR, b.Contact, b.Expires
	if len(x.clients) == 1 {
		select {
		case x.wake <- struct{}{}:
		default:
		}
	}
}

// loadNAT finds the clients that had registered before the process was started.
func (r *Registrar) loadNAT(ctx context.Context) {
	q := store.Query{Transport: sip.UDP, Node: r.cfg.Node, Now: time.Now()}
	for ctx.Err() == nil {
		page, err := r.store.List(ctx, q)
		if err != nil {
			r.alarm.raise(r.cfg.Logger, "clients behind NATs not loaded", slog.Any("error", err))
			return
		}
		for i := range page {
			if behindNAT(&page[i]) {
				r.keep(&page[i])
			}
		}
		if len(page) < store.PageSize(q.Limit) {
			return
		}
		q.After = q.Sort.Cursor(&page[len(page)-1])
	}
}

// sendKeepalives sends keepalives until ctx ends.
func (r *Registrar) sendKeepalives(ctx context.Context) {
	if r.cfg.Keepalive == KeepNothing {
		return
	}
	r.loadNAT(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.nat.wake:
			r.sendWhileAny(ctx)
		}
	}
}

// sendWhileAny sends them until there is no client left.
func (r *Registrar) sendWhileAny(ctx context.Context) {
	ticker := time.NewTicker(keepaliveTick)
	defer ticker.Stop()
	for more := true; more; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var due []natClient
		due, more = r.nat.take(r.bound)
		for i := range due {
			r.sendKeepalive(&due[i])
		}
	}
}

// bound reports whether the client still has the binding that keeps it.
func (r *Registrar) bound(c *natClient, now time.Time) bool {
	bindings, known := r.store.CachedLookup(c.aor, now)
	if !known {
		return now.Before(c.expires)
	}
	for i := range bindings {
		if bindings[i].Flow == c.flow {
			return true
		}
	}
	return false
}

// take returns the clients whose turn it is, and forgets those that are not bound any
// more. more is false when none is left.
func (x *natClients) take(bound func(*natClient, time.Time) bool) (due []natClient, more bool) {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	slot := &x.slots[x.next]
	x.next = (x.next + 1) % len(x.slots)
	kept := (*slot)[:0]
	for _, c := range *slot {
		if !bound(c, now) {
			delete(x.clients, c.flow)
			continue
		}
		kept = append(kept, c)
		due = append(due, *c)
	}
	clear((*slot)[len(kept):])
	*slot = kept
	return due, len(x.clients) > 0
}

// sendKeepalive sends one. One that gets lost is followed by another.
func (r *Registrar) sendKeepalive(c *natClient) {
	message := []byte("\r\n\r\n")
	if r.cfg.Keepalive == KeepOptions {
		message = r.options(c)
	}
	if err := r.flows.Send(c.flow, message); err != nil {
		r.cfg.Logger.Debug("keepalive not sent", slog.String("flow", c.flow.String()), slog.Any("error", err))
	}
}

// options is an OPTIONS that asks nothing but an answer, whichever it is. It opens no
// transaction: nobody waits for the answer, and one that doesn't come is not asked for
// again before its next turn.
func (r *Registrar) options(c *natClient) []byte {
	host, port := r.cfg.SentBy(c.flow)
	via := sip.Via{Transport: c.flow.Transport.String(), Host: host, Port: port,
		Branch: fmt.Sprintf("z9hG4bKka%x", rand.Uint64()), RPort: 0}
	_, domain := splitAOR(c.aor)
	return fmt.Appendf(nil, "OPTIONS %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s>;tag=ka%x\r\nTo: <%[1]s>\r\nCall-ID: ka%[5]x\r\nCSeq: 1 OPTIONS\r\n"+
		"Content-Length: 0\r\n\r\n", c.contact, via.String(), domain, rand.Uint32(), rand.Uint64())
}
