package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
)

// While the server is away it is tried again this often.
const (
	minReconnect = 200 * time.Millisecond
	maxReconnect = 5 * time.Second
)

func (a *app) regWatchCommand() *cobra.Command {
	var (
		q      admin.Query
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Watch registrations come and go",
		Long: `Watch prints what happens to the registrations of the running server, and why, until it is
interrupted. Where the server goes away it waits for it to come back; what happens meanwhile is
not shown.`,
		Args: arguments(cobra.NoArgs),
		Example: `  sipway reg watch --aor '*@example.test' --transport ws
  sipway reg watch --json | jq -r 'select(.event == "flow_closed") | .aor'`,
	}
	s := a.serverSettings(cmd)
	jsonFlag(cmd, &asJSON)
	selectFlags(cmd, &q)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return s.withServer(cmd, func(_ *config.Config, c *admin.Client) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			signals, release := a.catch(syscall.SIGTERM, os.Interrupt)
			defer release()
			go func() {
				select {
				case <-signals:
					cancel()
				case <-ctx.Done():
				}
			}()
			return a.watch(ctx, c, q, a.eventPrinter(asJSON))
		})
	}
	return cmd
}

// watch prints events until ctx ends. Only a server that is not there at first is an error.
func (a *app) watch(ctx context.Context, c *admin.Client, q admin.Query, print func(*admin.Event) error) error {
	events, err := c.Watch(ctx, q)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "watching the registrations of the server at %s\n", c.Addr())
	for {
		for e := range events {
			if err := print(&e); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		fmt.Fprintf(a.err, "the server at %s went away, waiting for it\n", c.Addr())
		if events, err = reconnect(ctx, c, q); err != nil {
			return err
		}
		if ctx.Err() == nil {
			fmt.Fprintln(a.err, "the server is back")
		}
	}
}

// reconnect tries until a server answers, or until ctx ends, when there are no events.
func reconnect(ctx context.Context, c *admin.Client, q admin.Query) (<-chan admin.Event, error) {
	for wait := minReconnect; ; wait = min(2*wait, maxReconnect) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			closed := make(chan admin.Event)
			close(closed)
			return closed, nil
		}
		// A server that is just starting or ending may break a request off.
		if events, err := c.Watch(ctx, q); err == nil || admin.IsBadRequest(err) {
			return events, err
		}
	}
}

// eventPrinter returns what prints an event as a line, at once.
func (a *app) eventPrinter(asJSON bool) func(*admin.Event) error {
	if asJSON {
		enc := a.jsonLines()
		return func(e *admin.Event) error { return enc.Encode(e) }
	}
	t := a.newTable("", "TIME", "EVENT", "ADDRESS", "CONTACT", "FROM", "USER AGENT")
	colored := a.colored(a.out)
	return func(e *admin.Event) error {
		r := e.Registration
		if r == nil {
			r = new(admin.Registration)
		}
		t.paint = ""
		if colored {
			t.paint = eventColor(e.Event)
		}
		if err := t.row(e.Time.Local().Format("15:04:05.000"), eventText(e), e.AOR, r.Contact, strings.TrimSpace(source(r)), r.UserAgent); err != nil {
			return err
		}
		return t.flush()
	}
}

func eventText(e *admin.Event) string {
	switch e.Event {
	case admin.EventAdded:
		return "registered"
	case admin.EventChanged:
		return "changed elsewhere"
	case admin.EventLost:
		return fmt.Sprintf("%d events lost", e.Lost)
	}
	return strings.ReplaceAll(e.Event, "_", " ")
}

func eventColor(event string) string {
	switch event {
	case admin.EventAdded:
		return "\x1b[32m" // green
	case admin.EventRefreshed, admin.EventChanged:
		return "\x1b[2m" // faint
	}
	return "\x1b[31m" // red
}
