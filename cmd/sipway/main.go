// Command sipway is a SIP proxy and registrar for browsers and desk phones: SIP over WebSocket
// (RFC 7118), UDP and TCP in one binary. This package is its command line, a file per command,
// and the only place that knows all the others and ties them together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/store"
)

// The exit codes; rootHelp documents them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitExists      = 4
	exitUnavailable = 5

	exitInterrupted = 130 // as shells have it for one who pressed Ctrl-C
)

const rootHelp = `sipway connects browsers that speak SIP over WebSocket with desk phones over UDP
and TCP: one registrar, one proxy, one binary.

Without a configuration it serves the domain localhost on loopback and keeps its
users and registrations in sipway.db:

  sipway user add alice@localhost
  sipway serve

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not found,
4 exists already, 5 store or server unavailable.`

// app is what the commands share: where they read and write, and what they are told by the
// environment.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) (string, bool)

	// notify returns a channel of the signals, which from then on do nothing else, and what
	// ends that. Nil means that there are no signals.
	notify func(...os.Signal) (<-chan os.Signal, func())
}

func main() {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.LookupEnv, notify: notify}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}

func notify(signals ...os.Signal) (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, signals...)
	return c, func() { signal.Stop(c) }
}

// catch is notify where there are signals.
func (a *app) catch(signals ...os.Signal) (<-chan os.Signal, func()) {
	if a.notify == nil {
		return nil, func() {}
	}
	return a.notify(signals...)
}

// run executes a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(a.err, "sipway: %v\n", err)
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "sipway",
		Short:         "SIP proxy and registrar for browsers and desk phones",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE:          help,

		SuggestionsMinimumDistance: suggestDistance,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.serveCommand(), a.reloadCommand(), a.userCommand(), a.regCommand(), a.callCommand(), a.banCommand(), a.migrateCommand(), a.configCommand(), a.versionCommand())
	return root
}

// suggestDistance is how many letters of a command's name may be wrong for it to be suggested.
const suggestDistance = 2

// group returns a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, RunE: help, SuggestionsMinimumDistance: suggestDistance}
	cmd.AddCommand(commands...)
	return cmd
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// noSuchCommand accepts no arguments: what stands there is a command's name gone wrong.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError{fmt.Errorf("unknown command %q for %s, did you mean %s?", args[0], cmd.CommandPath(), near[0])}
	}
	return usageError{fmt.Errorf("unknown command %q, see %s --help", args[0], cmd.CommandPath())}
}

// arguments turns the errors of an argument check into usage errors.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w, see %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
}

// describedError says in a text of its own what an error means here.
type describedError struct {
	text string
	error
}

func (e describedError) Error() string { return e.text }
func (e describedError) Unwrap() error { return e.error }

// usageError is an error of the one who typed the command or wrote the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	_, usage := errors.AsType[usageError](err)
	switch {
	case err == nil:
		return exitOK
	case usage, admin.IsBadRequest(err):
		return exitUsage
	case errors.Is(err, store.ErrNotFound):
		return exitNotFound
	case errors.Is(err, store.ErrExists):
		return exitExists
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, admin.ErrNoServer):
		return exitUnavailable
	}
	return exitFailure
}
