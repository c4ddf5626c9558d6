package transaction

import (
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// machineTest is a machine as a table: a row for each event, a column for each state. A
// cell is what the event does: the state it leads to and what leaves the transaction. "-"
// is an event that is ignored. A state that the machine never rests in over a transport has
// an empty cell.
type machineTest struct {
	flow   sip.Flow
	states []state
	rows   []row
	// reach makes a transaction and brings it into a state.
	reach func(*rig, state) subject
}

type row struct {
	event string
	cells []string
}

// subject is a transaction under test.
type subject struct {
	base *transaction
	fire func(event string)
	end  func() // brings it to an end where its timers don't
}

func (mt *machineTest) run(t *testing.T) {
	for _, row := range mt.rows {
		if len(row.cells) != len(mt.states) {
			t.Fatalf("%s: %d cells for %d states", row.event, len(row.cells), len(mt.states))
		}
		for i, from := range mt.states {
			if row.cells[i] == "" {
				continue
			}
			name := strings.ToLower(mt.flow.Transport.String()) + "/" + from.String() + "/" + row.event
			t.Run(name, func(t *testing.T) {
				bubble(t, Config{}, func(r *rig) { mt.check(r, from, row.event, row.cells[i]) })
			})
		}
	}
}

func (mt *machineTest) check(r *rig, from state, event, want string) {
	r.t.Helper()
	tx := mt.reach(r, from)
	if got := tx.base.now(); got != from {
		r.t.Fatalf("reached %v", got)
	}
	r.taken()
	tx.fire(event)
	got := strings.Join(append([]string{tx.base.now().String()}, r.taken()...), " ")
	if want == "-" {
		want = from.String()
	}
	if got != want {
		r.t.Errorf("got %q, want %q", got, want)
	}
	if tx.base.now() != terminated {
		tx.end()
	}
}

// covers checks that the table has a row for each of events, and that only states in
// unreachable have empty cells.
func (mt *machineTest) covers(t *testing.T, events []string, unreachable ...state) {
	t.Helper()
	var have []string
	for _, row := range mt.rows {
		have = append(have, row.event)
		for i, cell := range row.cells {
			if (cell == "") != slices.Contains(unreachable, mt.states[i]) {
				t.Errorf("%s in %s: cell %q", row.event, mt.states[i], cell)
			}
		}
	}
	if !slices.Equal(have, events) {
		t.Errorf("rows %q, want %q", have, events)
	}
}

// now returns the state.
func (t *transaction) now() state {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}
