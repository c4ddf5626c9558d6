package feed

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Feed
		d.Publish([]string{"nobody watches"})
		var got [][]string
		gate := make(chan struct{})
		stop := d.Watch(func(aors []string) {
			got = append(got, aors)
			<-gate
		})
		d.Publish([]string{"a"})
		synctest.Wait()
		// While the watcher is busy, news gather.
		d.Publish([]string{"b"})
		d.Publish([]string{"c", "d"})
		close(gate)
		synctest.Wait()
		if want := [][]string{{"a"}, {"b", "c", "d"}}; !equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}

		got = nil
		d.Publish(nil)
		synctest.Wait()
		if len(got) != 1 || got[0] != nil {
			t.Errorf("told %q of everything", got)
		}
		stop()
		d.Publish([]string{"e"})
		synctest.Wait()
		if len(got) != 1 {
			t.Errorf("told %q after its end", got[1:])
		}
	})
}

// A watcher that is too slow hears that everything may have changed: memory is bounded.
func TestSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Feed
		var got [][]string
		gate := make(chan struct{})
		d.Watch(func(aors []string) {
			got = append(got, aors)
			<-gate
		})
		for i := range most + 2 {
			d.Publish([]string{fmt.Sprint(i)})
			if i == 0 {
				synctest.Wait()
			}
		}
		close(gate)
		synctest.Wait()
		if len(got) != 2 || got[1] != nil {
			t.Errorf("told %d times", len(got))
		}
	})
}

func equal(a, b [][]string) bool { return slices.EqualFunc(a, b, slices.Equal) }
