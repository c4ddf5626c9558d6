package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A tortureCase is a file of testdata/torture; its README describes it.
type tortureCase struct {
	name    string
	message []byte
	answers map[string][]string // by transport: the words of which any is right
}

func readTorture(t *testing.T) []tortureCase {
	t.Helper()
	files, err := filepath.Glob("../testdata/torture/*.sip")
	if err != nil || len(files) == 0 {
		t.Fatalf("no torture messages: %v", err)
	}
	var cases []tortureCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, message, _ := bytes.Cut(text, []byte("\n\n"))
		c := tortureCase{message: message, answers: make(map[string][]string)}
		for line := range strings.Lines(string(head)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if name == "case" {
				c.name = value
			} else if slices.Contains(transports, name) {
				c.answers[name] = strings.Fields(value)
			}
		}
		cases = append(cases, c)
	}
	return cases
}

// Every torture message is answered as its file says, over each transport, and
// the server goes on.
func TestTorture(t *testing.T) {
	cases := readTorture(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			s := startServer(t, settings{open: true, memory: true})
			// What is registered must not take what the other messages are
			// for.
			registrar := startServer(t, settings{open: true, memory: true})
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					if bytes.HasPrefix(c.message, []byte("REGISTER ")) {
						c.run(t, registrar, transport)
					} else {
						c.run(t, s, transport)
					}
				})
			}
		})
	}
}

func (c tortureCase) run(t *testing.T, s *server, transport string) {
	want := c.answers[transport]
	if len(want) == 0 {
		t.Fatalf("the file says nothing of %s", transport)
	}
	w := s.connect(t, transport)
	defer w.close()
	if err := w.send(c.message); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(want, "silence") {
		c.mayBeSilent(t, s, transport, w, want)
		return
	}
	status, open := w.final(t)
	if !open {
		expect(t, want, "closed")
		s.answers(t, transport)
		return
	}
	got := fmt.Sprint(status)
	if slices.ContainsFunc(want, func(word string) bool { return matches(word, got) }) {
		w.probeOrClosed(t, transport, slices.Contains(want, got+"+closed"))
		return
	}
	expect(t, want, got+"+closed")
	if !t.Failed() {
		for open {
			_, open = w.next(t)
		}
	}
	s.answers(t, transport)
}

// mayBeSilent finds out whether there is an answer, without waiting for one: a
// request behind the message is answered after it. On a stream the message may
// swallow what follows, so the stream is ended instead.
func (c tortureCase) mayBeSilent(t *testing.T, s *server, transport string, w *wire, want []string) {
	t.Helper()
	if transport != "tcp" {
		for _, status := range w.probeOrClosed(t, transport, slices.Contains(want, "closed")) {
			expect(t, want, fmt.Sprint(status))
		}
		s.answers(t, transport)
		return
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	for {
		status, open := w.final(t)
		if !open {
			break
		}
		if !slices.Contains(want, fmt.Sprintf("%d+closed", status)) {
			expect(t, want, fmt.Sprint(status))
		}
	}
	s.answers(t, transport)
}

// probeOrClosed is probe, where the connection may be closed instead.
func (w *wire) probeOrClosed(t *testing.T, transport string, mayClose bool) (before []int) {
	t.Helper()
	if !mayClose {
		return w.probe(t, transport)
	}
	const callID = "probe-or-closed"
	if w.send(probeRequest(transport, callID)) != nil {
		return nil
	}
	for {
		b, open := w.next(t)
		if !open || bytes.Contains(b, []byte(callID)) {
			return before
		}
		if status := statusOf(b); status >= 200 {
			before = append(before, status)
		}
	}
}

// answers checks that the server answers on a new flow.
func (s *server) answers(t *testing.T, transport string) {
	t.Helper()
	w := s.connect(t, transport)
	defer w.close()
	w.probe(t, transport)
}

func expect(t *testing.T, want []string, got string) {
	t.Helper()
	if !slices.ContainsFunc(want, func(word string) bool { return matches(word, got) }) {
		t.Errorf("the answer is %q, expected %q", got, want)
	}
}

// matches compares a word of a torture file with what happened.
func matches(word, got string) bool {
	return word == got || len(word) == 3 && strings.HasSuffix(word, "xx") && len(got) == 3 && word[0] == got[0]
}
