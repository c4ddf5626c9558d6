package transaction

import (
	"testing"
	"testing/synctest"
	"time"
)

// lateness notes when those in a lane were told.
type lateness struct {
	place Place
	due   time.Time
	told  func(due time.Time)
}

func (l *lateness) Expire() { l.told(l.due) }

// Those who come one after the other are told together, a quarter of a second late at most, so
// that the process is woken four times a second and not for each; who is alone is told in time.
func TestLaneWakesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait, every, total = 5 * time.Second, 2 * time.Millisecond, 2000
		lane := NewLane(wait)
		told, wakes := 0, 0
		var last time.Time
		join := func(latest time.Duration) {
			w := &lateness{due: time.Now().Add(wait)}
			w.told = func(due time.Time) {
				if late := time.Since(due); late < 0 || late > latest {
					t.Errorf("told %v late", late)
				}
				if told++; time.Now() != last {
					last = time.Now()
					wakes++
				}
			}
			lane.Join(&w.place, w)
		}
		join(0)
		<-time.After(wait + time.Second) // virtual time
		synctest.Wait()
		told, wakes = 0, 0
		for range total {
			join(lane.slack())
			<-time.After(every)
		}
		<-time.After(wait + time.Second)
		synctest.Wait()
		if most := int(total*every/lane.slack()) + 2; told != total || wakes > most {
			t.Errorf("%d of %d told, in %d wakes, at most %d are wanted", told, total, wakes, most)
		}
	})
}
