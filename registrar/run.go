package registrar

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/store"
)

// sweepBatch is how many expired bindings are deleted by one write, so that no REGISTER
// waits long behind it.
const sweepBatch = 1000

// Run deletes expired bindings from the store now and then, on which nothing depends but
// space, sends keepalives to clients behind NATs, and hears of users who come back at other
// nodes, until ctx ends.
func (r *Registrar) Run(ctx context.Context) {
	go r.sendKeepalives(ctx)
	defer r.store.Watch(r.changedElsewhere)()
	ticker := time.NewTicker(r.cfg.SweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.returns.tidy(time.Now())
			r.failed.tidy(time.Now())
			r.sweep(ctx)
		}
	}
}

func (r *Registrar) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		swept, err := r.store.Sweep(ctx, time.Now(), sweepBatch)
		if err != nil && ctx.Err() == nil {
			r.alarm.raise(r.cfg.Logger, "expired bindings not deleted", slog.Any("error", err))
		}
		r.watchers.tellAll(store.Expired, swept)
		if err != nil || len(swept) < sweepBatch {
			return
		}
	}
}

// Shutdown waits until the store has answered every REGISTER and removed the bindings of
// every closed flow, or until ctx ends, whose error it then returns. It is called once
// the transports have closed; REGISTERs that still come are answered with 503.
func (r *Registrar) Shutdown(ctx context.Context) error { return r.tasks.shutdown(ctx) }

// maxTasks bounds the REGISTERs that wait for the store at a time; each holds a goroutine
// and its message, some 10 KB. It is far above what a store that works has in hand, as a
// browser that is answered with 503 does not try again.
const maxTasks = 1 << 14

// tasks are the goroutines that wait for the store.
type tasks struct {
	mu      sync.Mutex
	running int
	closing bool
	idle    chan struct{} // closed once closing and nothing runs
	stop    chan struct{} // closed when nobody waits for the tasks any longer
}

func (t *tasks) init() {
	t.idle, t.stop = make(chan struct{}), make(chan struct{})
}

// start runs f unless there are too many tasks, or is a shutdown under way.
func (t *tasks) start(f func()) bool { return t.run(f, maxTasks) }

// always runs f unless a shutdown is over.
func (t *tasks) always(f func()) bool { return t.run(f, 0) }

func (t *tasks) run(f func(), limit int) bool {
	if !t.enter(limit) {
		return false
	}
	go func() {
		defer t.done()
		f()
	}()
	return true
}

// enter begins a task, which ends with done.
func (t *tasks) enter(limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.stop:
		return false
	default:
	}
	if limit > 0 && (t.closing || t.running >= limit) {
		return false
	}
	t.running++
	return true
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	t.settle()
}

// settle ends the shutdown once nothing runs. The caller holds mu.
func (t *tasks) settle() {
	if t.closing && t.running == 0 {
		select {
		case <-t.idle:
		default:
			close(t.idle)
		}
	}
}

// sleep waits and reports whether there is a reason to go on.
func (t *tasks) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.stop:
		return false
	}
}

func (t *tasks) shutdown(ctx context.Context) error {
	t.mu.Lock()
	t.closing = true
	t.settle()
	t.mu.Unlock()
	var err error
	select {
	case <-t.idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.stop:
	default:
		close(t.stop)
	}
	return err
}

// alarm logs what may happen very often, at most once a second.
type alarm struct{ last atomic.Int64 }

func (a *alarm) raise(l *slog.Logger, text string, attrs ...slog.Attr) {
	if a.due() {
		l.LogAttrs(context.Background(), slog.LevelWarn, text, attrs...)
	}
}

// due reports whether it may be logged again.
func (a *alarm) due() bool {
	now := time.Now().UnixNano()
	last := a.last.Load()
	return now-last >= int64(time.Second) && a.last.CompareAndSwap(last, now)
}
