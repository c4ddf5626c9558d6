// Package batch gathers concurrent writes so that one transaction carries many of them
// (group commit): while one batch is being committed, the next one collects. A write that
// comes alone goes at once.
package batch

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipway/sipway/store"
)

// Op is one write waiting for its batch. Run and Done are called by the writer's
// goroutine only.
type Op struct {
	// Run does the write inside the batch's transaction. Its error is the outcome of this
	// write alone, unless it is a failure of the whole transaction, which the committing
	// function knows.
	Run func() error
	// Err is the outcome, set by the committing function before it returns.
	Err error

	state atomic.Uint32 // waiting, then taken or withdrawn
	done  chan struct{}
}

const (
	waiting = iota
	taken
	withdrawn
)

// Writer is a goroutine that commits batches.
type Writer struct {
	ops    chan *Op
	commit func([]*Op)
	idle   func()
	every  time.Duration
	max    int

	closing chan struct{}
	once    sync.Once
	ended   chan struct{}
}

// Start returns a running writer. commit is called with 1 to limit writes; it runs them in
// one transaction, sets every Err, and has made all effects visible when it returns. idle
// is called between batches about every that often, for what needs to be looked at also
// when nobody writes.
func Start(limit int, commit func([]*Op), every time.Duration, idle func()) *Writer {
	w := &Writer{
		// As many may queue without a goroutine switch as go into a batch; more than that
		// wait in their own calls, where their contexts can end them.
		ops:     make(chan *Op, limit),
		commit:  commit,
		idle:    idle,
		every:   every,
		max:     limit,
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	go w.run()
	return w
}

// Do has run called in the next batch and returns its outcome once the batch is durable.
// If ctx ends before the write's turn, the write is withdrawn; if it ends after, the error
// is store.ErrUncertain besides and run may still be using what it refers to.
func (w *Writer) Do(ctx context.Context, run func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	op := &Op{Run: run, done: make(chan struct{})}
	select {
	case <-w.closing:
		return errClosed
	default:
	}
	select {
	case w.ops <- op:
	case <-w.closing:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("store: %w", ctx.Err())
	}
	select {
	case <-op.done:
		return op.Err
	case <-ctx.Done():
	case <-w.ended:
		// The writer has emptied its queue before it ended, but this write may have
		// entered the queue after that.
		if op.state.CompareAndSwap(waiting, withdrawn) {
			return errClosed
		}
		<-op.done
		return op.Err
	}
	if op.state.CompareAndSwap(waiting, withdrawn) {
		return fmt.Errorf("store: %w", ctx.Err())
	}
	select {
	case <-op.done:
		return op.Err
	default:
		return fmt.Errorf("%w: %w", store.ErrUncertain, ctx.Err())
	}
}

var errClosed = fmt.Errorf("%w: closed", store.ErrUnavailable)

// Close commits what was accepted and ends the goroutine.
func (w *Writer) Close() {
	w.once.Do(func() { close(w.closing) })
	<-w.ended
}

func (w *Writer) run() {
	defer close(w.ended)
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	batch := make([]*Op, 0, w.max)
	for {
		select {
		case op := <-w.ops:
			batch = w.gather(append(batch[:0], op))
			w.flush(batch)
			clear(batch)
		case <-tick.C:
			w.idle()
		case <-w.closing:
			for {
				batch = w.collect(batch[:0])
				if len(batch) == 0 {
					return
				}
				w.flush(batch)
			}
		}
	}
}

// gather adds what else is waiting. It steps aside once: after a commit its callers are
// only just waking, and whoever among them writes again belongs into this batch rather
// than having to wait for the next. With nobody else to run that costs nothing.
func (w *Writer) gather(batch []*Op) []*Op {
	runtime.Gosched()
	return w.collect(batch)
}

func (w *Writer) collect(batch []*Op) []*Op {
	for len(batch) < w.max {
		select {
		case op := <-w.ops:
			batch = append(batch, op)
		default:
			return batch
		}
	}
	return batch
}

// flush commits those of the batch that have not been withdrawn.
func (w *Writer) flush(batch []*Op) {
	n := 0
	for _, op := range batch {
		if op.state.CompareAndSwap(waiting, taken) {
			batch[n] = op
			n++
		}
	}
	if n == 0 {
		return
	}
	w.commit(batch[:n])
	for _, op := range batch[:n] {
		close(op.done)
	}
}
