package batch_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/internal/batch"
)

// disk commits batches that each take a second of virtual time.
type disk struct {
	sizes []int
	idle  int
	err   error

	linger time.Duration
}

func (d *disk) commit(ops []*batch.Op[func() error]) {
	d.sizes = append(d.sizes, len(ops))
	errs := make([]error, len(ops))
	for i, op := range ops {
		errs[i] = op.Write()
	}
	<-time.After(time.Second)
	for i, op := range ops {
		if d.err != nil {
			errs[i] = d.err
		}
		op.Done(errs[i])
	}
}

func (d *disk) start(limit int) *batch.Writer[func() error] {
	return batch.Start(limit, d.linger, d.commit, time.Minute, func() { d.idle++ })
}

func run(f func()) func() error { return func() error { f(); return nil } }

func TestLoneWriteGoesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		w := d.start(100)
		defer w.Close()
		began := time.Now()
		if err := w.Do(t.Context(), run(func() {})); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want one commit of 1s", took)
		}
	})
}

func TestWaitingWritesShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		w := d.start(8)
		var wg sync.WaitGroup
		done := 0
		write := func() {
			wg.Go(func() {
				if err := w.Do(t.Context(), run(func() { done++ })); err != nil {
					t.Error(err)
				}
			})
		}
		write()
		synctest.Wait() // the first is being committed
		for range 20 {
			write()
		}
		wg.Wait()
		w.Close()
		if done != 21 {
			t.Errorf("%d writes done, want 21", done)
		}
		if len(d.sizes) != 4 || d.sizes[0] != 1 || d.sizes[1] != 8 || d.sizes[2] != 8 || d.sizes[3] != 4 {
			t.Errorf("batches of %v, want 1, 8, 8, 4", d.sizes)
		}
	})
}

func TestContextEnds(t *testing.T) {
	tests := []struct {
		name      string
		ahead     bool // another write is being committed when this one comes
		uncertain bool
		done      bool
	}{
		{"while waiting", true, false, false},
		{"while being committed", false, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d disk
				w := d.start(8)
				var wg sync.WaitGroup
				if tt.ahead {
					wg.Go(func() { _ = w.Do(t.Context(), run(func() {})) })
					synctest.Wait()
				}
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				done := false
				began := time.Now()
				err := w.Do(ctx, run(func() { done = true }))
				if took := time.Since(began); took != 300*time.Millisecond {
					t.Errorf("returned after %v, want 300ms", took)
				}
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUncertain) != tt.uncertain {
					t.Errorf("error %v, uncertain should be %t", err, tt.uncertain)
				}
				wg.Wait()
				w.Close()
				if done != tt.done {
					t.Errorf("done %t, want %t", done, tt.done)
				}
			})
		})
	}
}

func TestErrorsOfOneAndOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		w := d.start(8)
		defer w.Close()
		own := errors.New("own")
		if err := w.Do(t.Context(), func() error { return own }); !errors.Is(err, own) {
			t.Errorf("error %v, want %v", err, own)
		}
		d.err = store.ErrUnavailable
		if err := w.Do(t.Context(), run(func() {})); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("error %v, want %v", err, store.ErrUnavailable)
		}
	})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		w := d.start(8)
		<-time.After(10*time.Minute + time.Second)
		w.Close()
		if d.idle != 10 {
			t.Errorf("looked %d times in 10 minutes, want 10", d.idle)
		}
	})
}

func TestCloseCommitsWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		w := d.start(2)
		var wg sync.WaitGroup
		done := 0
		for range 3 { // one in the commit, two in the queue
			wg.Go(func() {
				if err := w.Do(t.Context(), run(func() { done++ })); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		w.Close()
		wg.Wait()
		if done != 3 {
			t.Errorf("%d writes done, want 3", done)
		}
		if err := w.Do(t.Context(), run(func() { done++ })); !errors.Is(err, store.ErrUnavailable) || done != 3 {
			t.Errorf("after Close: error %v, %d done", err, done)
		}
		w.Close()
	})
}

// TestSeveralWaitForMore: where writes come together, others that come soon share their commit,
// and one that is alone again waits once more and no further.
func TestSeveralWaitForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disk{linger: 10 * time.Millisecond}
		w := d.start(100)
		defer w.Close()
		var wg sync.WaitGroup
		write := func() {
			wg.Go(func() {
				if err := w.Do(t.Context(), run(func() {})); err != nil {
					t.Error(err)
				}
			})
		}
		write()
		synctest.Wait() // the first is being committed
		write()
		write()
		<-time.After(time.Second + 5*time.Millisecond)
		write()
		wg.Wait()
		for _, want := range []time.Duration{time.Second + d.linger, time.Second} {
			began := time.Now()
			write()
			wg.Wait()
			if took := time.Since(began); took != want {
				t.Errorf("alone: %v, want %v", took, want)
			}
		}
		if want := []int{1, 3, 1, 1}; !slices.Equal(d.sizes, want) {
			t.Errorf("commits of %v, want %v", d.sizes, want)
		}
	})
}

// TestLater: what there is room for is committed, also when the writer closes, and told once;
// what there is no room for is not accepted.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		w := d.start(2)
		own := errors.New("own")
		var told []error
		then := func(err error) { told = append(told, err) }
		if !w.Later(func() error { return own }, then) {
			t.Error("not accepted by a writer that does nothing")
		}
		synctest.Wait() // it is being committed
		for _, want := range []bool{true, true, false} {
			if got := w.Later(run(func() {}), then); got != want {
				t.Errorf("accepted %t, want %t", got, want)
			}
		}
		w.Close()
		if want := []error{own, nil, nil}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		if w.Later(run(func() {}), then) {
			t.Error("accepted after Close")
		}
	})
}
