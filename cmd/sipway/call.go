package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
)

func (a *app) callCommand() *cobra.Command {
	cmd := group("call", "Look at the calls that go on", a.callListCommand(), a.callShowCommand())
	cmd.Long = `The commands below ask the running server, at the address that --admin names, else the
configuration. Calls that have ended are in the log, and in the file that cdr.file names.`
	return cmd
}

func (a *app) callListCommand() *cobra.Command {
	var (
		q             admin.CallQuery
		asJSON, count bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the calls, oldest first",
		Args:  arguments(cobra.NoArgs),
		Example: `  sipway call list --user 'alice@*'
  sipway call list --state early --longer 30s
  sipway call list --transport ws --json | jq -r .codec
  sipway call list --count`,
	}
	jsonFlag(cmd, &asJSON)
	f := cmd.Flags()
	f.StringVar(&q.User, "user", "", "only calls with an address like this on either side, with * for anything")
	f.StringVar(&q.From, "from", "", "only calls of callers like this")
	f.StringVar(&q.To, "to", "", "only calls to addresses like this")
	f.StringVar(&q.State, "state", "", "only these: "+strings.Join(admin.CallStates, ", "))
	f.StringVar(&q.Transport, "transport", "", "only those with a side over this: udp, tcp, tls, ws or wss")
	f.DurationVar(&q.Longer, "longer", 0, "only those that began so long ago")
	f.IntVar(&q.Limit, "limit", 0, "list at most so many (0: all)")
	f.StringVar(&q.After, "after", "", "begin behind the call with this ID")
	f.BoolVar(&count, "count", false, "print only how many there are")
	complete(cmd, "state", admin.CallStates...)
	complete(cmd, "transport", "udp", "tcp", "tls", "ws", "wss")
	return a.onCalls(cmd, func(cmd *cobra.Command, _ []string, calls admin.Calls) error {
		if q.Limit < 0 || q.Longer < 0 {
			return usageError{errors.New("--limit and --longer can't be negative")}
		}
		if count {
			n, err := calls.CountCalls(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.printCount(n, asJSON)
		}
		list := paging[admin.Call]{q.After, q.Limit, page, func(after string, n int) ([]admin.Call, string, error) {
			q := q
			q.After, q.Limit = after, n
			page, err := calls.ListCalls(cmd.Context(), q)
			return page.Calls, page.Next, err
		}}
		return a.callPrinter(asJSON, time.Now()).list(a, list)
	})
}

// onCalls adds the flags of a command on the calls of the running server, which runs f with them.
func (a *app) onCalls(cmd *cobra.Command, f func(cmd *cobra.Command, args []string, calls admin.Calls) error) *cobra.Command {
	s := a.serverSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.withServer(cmd, func(_ *config.Config, c *admin.Client) error { return f(cmd, args, c) })
	}
	return cmd
}

func (a *app) callPrinter(asJSON bool, now time.Time) printer[admin.Call] {
	t := a.newTable("no calls", "ID", "STATE", "FROM", "TO", "AGE", "TALK", "OVER", "CODEC")
	return newPrinter(a, asJSON, t, func(c *admin.Call) []string {
		talk := ""
		if !c.Answer.IsZero() {
			talk = age(now.Sub(c.Answer.Time))
		}
		return []string{c.ID, c.State, c.From, c.To, age(now.Sub(c.Start.Time)), talk, over(c), c.Codec}
	})
}

// over names the transports of the two sides, "ws-udp".
func over(c *admin.Call) string {
	if c.Callee.Transport == "" {
		return c.Caller.Transport
	}
	return c.Caller.Transport + "-" + c.Callee.Transport
}

func (a *app) callShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show all that is known of a call, by its ID or Call-ID",
		Args:  arguments(cobra.ExactArgs(1)),
	}
	jsonFlag(cmd, &asJSON)
	return a.onCalls(cmd, func(cmd *cobra.Command, args []string, calls admin.Calls) error {
		list, err := calls.ShowCall(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		now := time.Now()
		for i := range list {
			if err := a.showCall(&list[i], asJSON, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// showCall prints a call: what it is, its two sides, its legs and dialogs, its messages.
func (a *app) showCall(c *admin.Call, asJSON bool, now time.Time) error {
	if asJSON {
		return a.jsonLines().Encode(c)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s to %s\n", printable(c.From), printable(c.To))
	timer, lost := "", ""
	if c.SessionInterval > 0 {
		timer = fmt.Sprintf("%d s, passes in %s", c.SessionInterval, age(c.SessionExpires.Sub(now)))
	}
	if !c.Lost.IsZero() {
		lost = "for " + age(now.Sub(c.Lost.Time))
	}
	showLines(&text, "  ", []namedText{
		{"id", c.ID},
		{"call id", c.CallID},
		{"state", c.State},
		{"began", c.Start.String() + ", " + age(now.Sub(c.Start.Time)) + " ago"},
		{"rang", after(c, c.Ring)},
		{"answered", after(c, c.Answer)},
		{"codec", c.Codec},
		{"session", timer},
		{"side lost", lost},
		{"refer to", c.ReferTo},
		{"replaces", c.Replaces},
	})
	showParty(&text, "caller", &c.Caller, now)
	showParty(&text, "callee", &c.Callee, now)
	showLegs(&text, c)
	showMessages(&text, c)
	_, err := fmt.Fprint(a.out, text.String())
	return err
}

// after says when in a call something happened, "" where it did not.
func after(c *admin.Call, t admin.Moment) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("after %.3f s", t.Sub(c.Start.Time).Seconds())
}

// showLegs writes where the INVITE went, and what dialogs came of it.
func showLegs(text *strings.Builder, c *admin.Call) {
	for i := range c.Legs {
		l := &c.Legs[i]
		status := fmt.Sprint(l.Status)
		switch {
		case l.Status == 0:
			status = "no answer yet"
		case l.Unanswered:
			status += ", by the server"
		}
		fmt.Fprintf(text, "  leg %d       %s\n", i+1, printable(l.Contact))
		showLines(text, "    ", []namedText{
			{"over", partyAddress(&l.CallParty)}, {"rang", after(c, l.Ring)}, {"status", status}, {"final", after(c, l.End)},
		})
	}
	for _, d := range c.Dialogs {
		fmt.Fprintf(text, "  dialog      %s, from tag %s, to tag %s, CSeq %d and %d\n",
			d.State, printable(d.FromTag), printable(d.ToTag), d.CallerCSeq, d.CalleeCSeq)
	}
}

// showMessages writes the last messages with their times.
func showMessages(text *strings.Builder, c *admin.Call) {
	if n := c.MessageCount - len(c.Messages); n > 0 {
		fmt.Fprintf(text, "  messages    %d before these\n", n)
	}
	for _, m := range c.Messages {
		arrow, what := "-->", m.Method
		if m.From == "callee" {
			arrow = "<--"
		}
		if what == "" {
			what = "another method"
		}
		if m.Status != 0 {
			what = fmt.Sprintf("%d %s", m.Status, what)
		}
		fmt.Fprintf(text, "  %9.3f s caller %s callee  %s\n", m.Time.Sub(c.Start.Time).Seconds(), arrow, what)
	}
}

type namedText struct{ name, value string }

// showLines writes the lines that have a value.
func showLines(text *strings.Builder, indent string, lines []namedText) {
	for _, l := range lines {
		if l.value != "" {
			fmt.Fprintf(text, "%s%-11s %s\n", indent, l.name, printable(l.value))
		}
	}
}

func showParty(text *strings.Builder, side string, p *admin.CallParty, now time.Time) {
	if p.Transport == "" {
		return
	}
	fmt.Fprintf(text, "  %-11s %s\n", side, partyAddress(p))
	showLines(text, "    ", []namedText{
		{"connection", connectionText(p, now)}, {"user agent", p.UserAgent}, {"media", p.Media},
	})
}

// partyAddress says where a side is: "ws 192.0.2.1:50000".
func partyAddress(p *admin.CallParty) string { return p.Transport + " " + p.Remote }

// connectionText describes the connection to a side of a call.
func connectionText(p *admin.CallParty, now time.Time) string {
	return flowText(&admin.Registration{Flow: p.Flow, State: p.Connection}, now)
}
