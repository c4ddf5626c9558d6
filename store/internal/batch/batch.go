// Package batch gathers concurrent writes so that one transaction carries many of them
// (group commit): while one batch is being committed, the next one collects. A write that
// comes alone goes at once; where several come, and not very many, they wait a moment for more.
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

// Op is one write waiting for its batch.
type Op[T any] struct {
	// Write says what is to be written, in the terms of the committing function.
	Write T

	err   error
	state atomic.Uint32 // waiting, then taken or withdrawn
	done  chan struct{} // nil where then is called
	then  func(error)
}

// Done ends the write with its outcome. The committing function calls it once for every
// write: when it is durable and its effects are visible, or has failed.
func (op *Op[T]) Done(err error) {
	if op.then != nil {
		op.then(err)
		return
	}
	op.err = err
	close(op.done)
}

const (
	waiting = iota
	taken
	withdrawn
)

// Writer is a goroutine that commits batches.
type Writer[T any] struct {
	ops    chan *Op[T]
	commit func([]*Op[T])
	idle   func()
	every  time.Duration
	linger time.Duration
	max    int

	last int // the size of the batch before; of the goroutine alone

	entering sync.RWMutex // held for reading by Later, for writing to close closing

	closing chan struct{}
	once    sync.Once
	ended   chan struct{}
}

// Start returns a running writer. commit is called with 1 to limit writes; it does them
// together and has called Done of each when it returns. A batch that is not the only one of
// late waits for linger, so that fewer are needed; 0: none does. idle is called between batches
// about every that often, for what needs to be looked at also when nobody writes.
func Start[T any](limit int, linger time.Duration, commit func([]*Op[T]), every time.Duration, idle func()) *Writer[T] {
	w := &Writer[T]{
		// As many may queue without a goroutine switch as go into a batch; more than that
		// wait in their own calls, where their contexts can end them.
		ops:     make(chan *Op[T], limit),
		commit:  commit,
		idle:    idle,
		every:   every,
		linger:  linger,
		max:     limit,
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	go w.run()
	return w
}

// Do has the write done in the next batch and returns its outcome once it is durable. If
// ctx ends before the write's turn, the write is withdrawn; if it ends after, the error is
// store.ErrUncertain besides and what the write refers to may still be in use.
func (w *Writer[T]) Do(ctx context.Context, write T) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	op := &Op[T]{Write: write, done: make(chan struct{})}
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
		return op.err
	case <-ctx.Done():
	case <-w.ended:
		// The writer has emptied its queue before it ended, but this write may have
		// entered the queue after that.
		if op.state.CompareAndSwap(waiting, withdrawn) {
			return errClosed
		}
		<-op.done
		return op.err
	}
	if op.state.CompareAndSwap(waiting, withdrawn) {
		return fmt.Errorf("store: %w", ctx.Err())
	}
	select {
	case <-op.done:
		return op.err
	default:
		return fmt.Errorf("%w: %w", store.ErrUncertain, ctx.Err())
	}
}

// Later has the write done in the next batch and then called with the outcome, on the writer's
// goroutine: so then neither waits nor writes. False says that nothing of that will happen, as
// there is no room or the writer is closing.
func (w *Writer[T]) Later(write T, then func(error)) bool {
	// Close empties the queue after the last one has come.
	w.entering.RLock()
	defer w.entering.RUnlock()
	select {
	case <-w.closing:
		return false
	default:
	}
	select {
	case w.ops <- &Op[T]{Write: write, then: then}:
		return true
	default:
		return false
	}
}

var errClosed = fmt.Errorf("%w: closed", store.ErrUnavailable)

// Close commits what was accepted and ends the goroutine.
func (w *Writer[T]) Close() {
	w.once.Do(func() {
		w.entering.Lock()
		close(w.closing)
		w.entering.Unlock()
	})
	<-w.ended
}

func (w *Writer[T]) run() {
	defer close(w.ended)
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	batch := make([]*Op[T], 0, w.max)
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
func (w *Writer[T]) gather(batch []*Op[T]) []*Op[T] {
	runtime.Gosched()
	batch = w.collect(batch)
	if w.linger > 0 && max(len(batch), w.last) > 1 && len(batch) < min(enough, w.max) {
		w.wait()
		batch = w.collect(batch)
	}
	w.last = len(batch)
	return batch
}

// enough is the size of a batch above which a larger one costs hardly less for each write.
const enough = 32

// wait waits for linger, or until no more writes come.
func (w *Writer[T]) wait() {
	timer := time.NewTimer(w.linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.closing:
	}
}

func (w *Writer[T]) collect(batch []*Op[T]) []*Op[T] {
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
func (w *Writer[T]) flush(batch []*Op[T]) {
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
}
