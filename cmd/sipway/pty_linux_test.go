package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/store"
)

// openTerminal returns the two ends of a pseudo-terminal: the one of the person who sits at it,
// and the one of the program.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// A password typed at a terminal is asked for twice and does not appear.
func TestPasswordAtTerminal(t *testing.T) {
	for _, tc := range []struct {
		first, second string
		want          string
	}{
		{"secret\n", "secret\n", ""},
		{"secret\n", "sekret\n", "the passwords differ"},
		{"\n", "\n", "empty password"},
	} {
		person, program := openTerminal(t)
		prompts, said := io.Pipe()
		a := &app{in: program, err: said}
		type result struct {
			password string
			err      error
		}
		done := make(chan result, 1)
		go func() {
			p, err := a.readPassword(store.UserID{Name: "alice", Domain: "a.test"}, false)
			done <- result{p, err}
		}()
		r := bufio.NewReader(prompts)
		for i, typed := range []string{tc.first, tc.second} {
			prompt, err := r.ReadString(':')
			if err != nil || i == 0 && !strings.Contains(prompt, "Password for alice@a.test") {
				t.Fatalf("%q, %v", prompt, err)
			}
			// The echo goes off after the prompt: what is typed before that would be
			// thrown away.
			awaitNoEcho(t, program)
			if _, err := person.WriteString(typed); err != nil {
				t.Fatal(err)
			}
		}
		go io.Copy(io.Discard, r)
		got := <-done
		if tc.want == "" && (got.err != nil || got.password != "secret") || tc.want != "" && (got.err == nil || !strings.Contains(got.err.Error(), tc.want)) {
			t.Errorf("%q, %q: %+v", tc.first, tc.second, got)
		}
		said.Close()
		program.Close()
		if echo, _ := io.ReadAll(person); bytes.Contains(echo, []byte("secret")) {
			t.Errorf("the password was shown: %q", echo)
		}
	}
}

// awaitNoEcho returns when the terminal does not show what is typed. The kernel tells nobody of
// that, so it has to be asked.
func awaitNoEcho(t *testing.T, f *os.File) {
	t.Helper()
	for t.Context().Err() == nil {
		attrs, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if attrs.Lflag&unix.ECHO == 0 {
			return
		}
	}
}

// On a terminal there is colour, unless NO_COLOR is set, and the log is for people.
func TestTerminalOutput(t *testing.T) {
	for noColor, want := range map[string][2]string{
		"":  {"\x1b[1mA  B\r\n\x1b[0m1  2\r\n", "\x1b[31mERROR\x1b[0m broken  x=1"},
		"1": {"A  B\r\n1  2\r\n", " ERROR broken  x=1"},
	} {
		person, program := openTerminal(t)
		a := &app{out: program, env: func(string) (string, bool) { return noColor, noColor != "" }}
		tab := a.newTable("nothing", "A", "B")
		if err := tab.row("1", "2"); err != nil {
			t.Fatal(err)
		}
		if err := tab.end(); err != nil {
			t.Fatal(err)
		}
		newLogger(program, config.Default().Log, slog.LevelInfo, a.colored(program)).Error("broken", "x", 1)
		program.Close()
		text, _ := io.ReadAll(person) // ends with an error when the program's end is closed
		if !strings.HasPrefix(string(text), want[0]) || !strings.Contains(string(text), want[1]) {
			t.Errorf("%q", text)
		}
	}
}
