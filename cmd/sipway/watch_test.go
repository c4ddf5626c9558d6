package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// watching is a `sipway reg watch` in this process; its lines are those of standard output.
type watching struct {
	*running
	notes chan string // lines of standard error
}

func (c *cli) watch(args ...string) *watching {
	w := &watching{
		running: &running{lines: make(chan string, 100), signals: make(chan os.Signal, 2), code: make(chan int, 1)},
		notes:   make(chan string, 100),
	}
	out, toOut := io.Pipe()
	err, toErr := io.Pipe()
	go readLines(out, w.lines)
	go readLines(err, w.notes)
	a := &app{in: strings.NewReader(""), out: toOut, err: toErr, env: c.lookup, notify: w.notify}
	go func() {
		code := a.run(c.t.Context(), append([]string{"reg", "watch"}, args...))
		toOut.Close()
		toErr.Close()
		w.code <- code
	}()
	return w
}

// note expects the next line of standard error.
func (w *watching) note(t *testing.T, part string) {
	t.Helper()
	if line := <-w.notes; !strings.Contains(line, part) {
		t.Errorf("%q, want %q", line, part)
	}
}

// event expects the next event, and returns it.
func (w *watching) event(t *testing.T, event, contact string) (e admin.Event) {
	t.Helper()
	line := <-w.lines
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if e.Event != event || e.Registration == nil || e.Registration.Contact != contact || e.AOR != e.Registration.AOR || e.Time.IsZero() {
		t.Errorf("%s, want %s of %s", line, event, contact)
	}
	return e
}

// What happens is told as it happens, with the reason; a server that is restarted is waited for.
func TestWatch(t *testing.T) {
	l := newLab(t)
	w := l.watch("--json")
	w.note(t, "watching")
	some := l.watch("--json", "--transport", "udp", "--aor", "b*")
	some.note(t, "watching")

	desk := dial(t, "udp", l.udp, "alice")
	desk.register(600)
	w.event(t, "added", desk.contact())
	desk.register(600)
	if e := w.event(t, "refreshed", desk.contact()); e.Registration.CSeq != 2 || e.Registration.Transport != "udp" {
		t.Errorf("%+v", e.Registration)
	}
	desk.register(0)
	w.event(t, "unregistered", desk.contact())
	soft := dial(t, "tcp", l.tcp, "alice")
	soft.register(600)
	w.event(t, "added", soft.contact())
	soft.conn.Close()
	w.event(t, "flow_closed", soft.contact())
	bob := dial(t, "udp", l.udp, "bob")
	bob.register(600)
	w.event(t, "added", bob.contact())
	l.expect(exitOK, "removed", "", "reg", "rm", "bob")
	w.event(t, "removed", bob.contact())

	some.event(t, "added", bob.contact())
	some.event(t, "removed", bob.contact())
	some.signals <- os.Interrupt
	if code := some.end(); code != exitOK || some.log.Len() > 0 {
		t.Errorf("%d, %s", code, &some.log)
	}

	l.stop()
	w.note(t, "went away")
	again := l.lab()
	w.note(t, "is back")
	carol := dial(t, "tcp", again.tcp, "carol")
	carol.register(600)
	w.event(t, "added", carol.contact())
	w.signals <- os.Interrupt
	if code := w.end(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// Without a server there is nothing to wait for, and nothing that a list has is to be asked of a
// stream.
func TestWatchErrors(t *testing.T) {
	c := newCLI(t)
	c.expect(exitUnavailable, "no server answers at unix:admin.sock", "", "reg", "watch")
	l := c.lab()
	l.expect(exitUsage, "transport: expects udp", "", "reg", "watch", "--transport", "x")
}

// A watcher that takes nothing holds up nobody, and is told how much it has missed.
func TestSlowWatcher(t *testing.T) {
	var c changes
	queue := c.watch(t.Context(), store.Query{Transport: sip.UDP})
	b := &store.Binding{AOR: "alice@a.test", Flow: sip.Flow{Transport: sip.UDP}}
	const missed = 7
	for range watchQueue + missed {
		c.publish(store.Refreshed, b)
	}
	c.publish(store.Added, &store.Binding{Flow: sip.Flow{Transport: sip.WS}}) // not asked for
	for range watchQueue {
		if e := <-queue; e.Event != admin.EventRefreshed {
			t.Fatalf("%+v", e)
		}
	}
	c.publish(store.Removed, b)
	c.elsewhere([]string{"bob@a.test"})
	c.elsewhere(nil)
	for _, want := range []admin.Event{
		{Event: admin.EventLost, Lost: missed}, {Event: admin.EventRemoved, AOR: "alice@a.test"},
		{Event: admin.EventChanged, AOR: "bob@a.test"}, {Event: admin.EventChanged},
	} {
		if e := <-queue; e.Event != want.Event || e.Lost != want.Lost || e.AOR != want.AOR {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
	if n := c.total[store.Refreshed].Load(); n != watchQueue+missed {
		t.Errorf("%d refreshes are counted", n)
	}
}
