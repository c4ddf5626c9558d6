package proxy

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
	"github.com/sipway/sipway/store"
)

// TestScripts plays the files of testdata: what goes over the wire between named actors and
// the proxy, in virtual time. testdata/README.md explains the format.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range strings.Split(string(text), "\n==") {
				playScript(t, part)
			}
		})
	}
}

// script is one scenario being played.
type script struct {
	t      *testing.T
	w      *world
	actors map[string]*actor
	names  []string // of the actors, in their order
	began  time.Time
	log    []string // what happened so far, for the one who reads a failure
	line   string   // the one being played
}

// step is a line of a script with the indented lines below it.
type step struct {
	line string
	more []string
}

func playScript(t *testing.T, text string) {
	title, steps := parseScript(text)
	t.Run(title, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{t: t, w: newWorld(t), actors: make(map[string]*actor), began: time.Now()}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go s.w.proxy.Calls.Run(ctx)
			for _, st := range steps {
				s.line = st.line
				s.play(st)
			}
			s.line = "end of the script"
			s.expectQuiet()
			s.w.wait(10 * time.Minute) // a timer that was forgotten shows itself
			s.expectQuiet()
			for _, name := range s.names {
				s.actors[name].checkAcknowledged()
			}
			if stats := s.w.layer.Stats(); stats.InviteClients+stats.Clients+stats.InviteServers+stats.Servers != 0 {
				s.fail("transactions left: %+v", stats)
			}
			if live := s.w.proxy.Calls.Stats().Live; live[dialog.Trying]+live[dialog.Early]+live[dialog.Ending] != 0 {
				s.fail("calls left in the records: %v", live)
			}
			if left := s.w.proxy.Stats(); left.Calls+left.Merging != 0 {
				s.fail("left in the proxy: %+v", left)
			}
		})
	})
}

// parseScript takes the first comment line for the title.
func parseScript(text string) (title string, steps []step) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(trimmed, "="):
		case strings.HasPrefix(trimmed, "#"):
			if title == "" {
				title = strings.TrimSpace(trimmed[1:])
			}
		case line[0] == ' ':
			steps[len(steps)-1].more = append(steps[len(steps)-1].more, trimmed)
		default:
			steps = append(steps, step{line: trimmed})
		}
	}
	return title, steps
}

func (s *script) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s: "+format+"\n%s", append(append([]any{s.line}, args...), strings.Join(s.log, "\n"))...)
}

// play does one step. Whatever is done, nothing may have been sent that was not expected.
func (s *script) play(st step) {
	fields := strings.Fields(st.line)
	if len(fields) > 2 && fields[1] == "<" {
		s.actor(fields[0]).expect(fields[2:], st.more)
		return
	}
	s.expectQuiet()
	s.log = append(s.log, "         -- "+st.line)
	switch {
	case len(fields) > 2 && fields[1] == ">":
		s.actor(fields[0]).send(fields[2:], st.more)
	case len(fields) > 2 && fields[1] == "=":
		s.declare(fields[0], fields[2:])
	case fields[0] == "register":
		s.register(fields[1], fields[2], fields[3:])
	case fields[0] == "config":
		s.configure(fields[1:])
	case fields[0] == "wait":
		d, err := time.ParseDuration(fields[1])
		if err != nil {
			s.fail("%v", err)
		}
		s.w.wait(d)
	case fields[0] == "close":
		s.actor(fields[1]).close()
	case fields[0] == "ended":
		s.checkEnded(fields[1:])
	case fields[0] == "live":
		s.checkLive(fields[1:])
	case fields[0] == "refuse":
		s.w.refuse(s.actor(fields[1]).flow.Remote)
	case fields[0] == "reconnect":
		s.actor(fields[1]).reconnect()
	default:
		s.fail("what is that?")
	}
	synctest.Wait()
	s.collect()
}

func (s *script) actor(name string) *actor {
	a := s.actors[name]
	if a == nil {
		s.fail("who is %s?", name)
	}
	return a
}

// configure sets what the configuration keys of the same name set.
func (s *script) configure(settings []string) {
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		if !s.setting(key, value) {
			s.fail("no setting %s", setting)
		}
	}
}

func (s *script) setting(key, value string) bool {
	p := s.w.proxy
	switch key {
	case "session_expires", "min_se":
		d, err := time.ParseDuration(value)
		if key == "min_se" {
			p.MinSE = d
		} else {
			p.SessionExpires = d
		}
		return err == nil
	case "no_answer":
		d, err := time.ParseDuration(value)
		p.NoAnswer = d
		return err == nil
	case "recurse":
		p.Recurse = map[string]Recursion{"own": RecurseOwn, "any": RecurseAny, "never": RecurseNever}[value]
	case "emergency":
		p.Emergency, p.numbers = strings.Fields(value), map[string]bool{value: value != ""}
	case "secure":
		p.Secure = true
	case "max_calls":
		n, err := strconv.Atoi(value)
		p.MaxCalls = n
		return err == nil
	case "late_2xx":
		p.Late2xx = map[string]Late2xx{"auto": LateAuto, "forward": LateForward, "terminate": LateTerminate}[value]
	default:
		return false
	}
	return true
}

// register binds an actor's contact to a user of example.test.
func (s *script) register(user, name string, options []string) {
	a := s.actor(name)
	contact, params, q := a.contact, "", 1000
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "q":
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.fail("%v", err)
			}
			q = int(f * 1000)
		case "contact":
			contact = value
		case "params":
			params = value
		default:
			s.fail("no option %s", option)
		}
	}
	aor := user + "@example.test"
	methods, _ := sip.Params(params).Get("methods")
	s.w.rebind(aor, func(list []store.Binding) []store.Binding {
		return append(list, store.Binding{
			AOR: aor, Key: contact, Contact: contact, Params: params, Methods: methods, Q: q, Flow: a.flow,
		})
	})
	a.aors = append(a.aors, aor)
}

// collect hands what was sent to its receivers.
func (s *script) collect() {
	s.w.mu.Lock()
	wire := s.w.wire
	s.w.wire = nil
	s.w.mu.Unlock()
	for _, p := range wire {
		i := slices.IndexFunc(s.names, func(name string) bool { return s.actors[name].flow == p.to })
		if i < 0 {
			i = s.connected(p.to)
		}
		if i < 0 {
			s.fail("sent to nobody, %v:\n%s", p.to, p.m)
		}
		s.actors[s.names[i]].receive(p.m)
	}
	if len(wire) > 0 { // an actor may have answered by itself
		synctest.Wait()
		s.collect()
	}
}

// connected gives a connection that the proxy has opened to the actor at its other end.
func (s *script) connected(f sip.Flow) (i int) {
	i = slices.IndexFunc(s.names, func(name string) bool {
		old := s.actors[name].flow
		return f.Transport == sip.TCP && old.Transport == sip.TCP && old.Remote == f.Remote && !s.w.Alive(old)
	})
	if i >= 0 {
		s.actors[s.names[i]].flow = f
		s.w.open(f)
	}
	return i
}

// expectQuiet fails if somebody was sent what the script does not say.
func (s *script) expectQuiet() {
	s.t.Helper()
	synctest.Wait()
	s.collect()
	for _, name := range s.names {
		if inbox := s.actors[name].inbox; len(inbox) > 0 {
			s.fail("besides, %s was sent\n%s", name, inbox[0])
		}
	}
}

func (s *script) note(name, arrow string, m *sip.Message) {
	first, _, _ := strings.Cut(m.String(), "\r\n")
	s.log = append(s.log, time.Since(s.began).String()+" "+name+" "+arrow+" "+first)
}
