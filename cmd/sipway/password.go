package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sipway/sipway/store"
)

func passwordFlag(cmd *cobra.Command, fromStdin *bool) {
	cmd.Flags().BoolVar(fromStdin, "password-stdin", false, "read the password from the first line of standard input")
}

// readPassword asks for a password on the terminal, twice and without echo, or reads it from the
// first line of standard input if told to or if that is no terminal. It is never an argument:
// those can be read by everyone on the machine, and are kept in the shell's history.
func (a *app) readPassword(id store.UserID, fromStdin bool) (string, error) {
	tty, isTerminal := terminal(a.in)
	if fromStdin || !isTerminal {
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return notEmpty(strings.TrimRight(line, "\r\n"))
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.err, prompt)
		defer fmt.Fprintln(a.err)
		text, err := term.ReadPassword(int(tty.Fd()))
		return string(text), err
	}
	defer a.restoreEcho(int(tty.Fd()))()
	first, err := ask(fmt.Sprintf("Password for %s: ", id))
	if err != nil {
		return "", err
	}
	second, err := ask("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the passwords differ")
	}
	return notEmpty(first)
}

// restoreEcho has an interrupt leave the terminal as it is now, until the function that it returns is
// called.
func (a *app) restoreEcho(fd int) (stop func()) {
	state, err := term.GetState(fd)
	if err != nil {
		return func() {}
	}
	signals, release := a.catch(os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			term.Restore(fd, state)
			fmt.Fprintln(a.err)
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return func() { close(done); release() }
}

func notEmpty(password string) (string, error) {
	if password == "" {
		return "", usageError{errors.New("empty password")}
	}
	return password, nil
}
