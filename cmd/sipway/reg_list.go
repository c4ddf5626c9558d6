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

func (a *app) regListCommand() *cobra.Command {
	var (
		q             admin.Query
		asJSON, count bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the registrations",
		Args:  arguments(cobra.NoArgs),
		Example: `  sipway reg list --aor '*@example.test' --limit 50
  sipway reg list --transport ws --user-agent jssip --expiring 1m --sort expires
  sipway reg list --source 198.51.100.0/24 --json | jq -r .contact
  sipway reg list --count`,
	}
	jsonFlag(cmd, &asJSON)
	selectFlags(cmd, &q)
	cmd.Flags().DurationVar(&q.Expiring, "expiring", 0, "only those that expire within this time")
	cmd.Flags().StringVar(&q.Sort, "sort", "aor", "order: aor, expires (soonest first) or updated (latest first)")
	cmd.Flags().IntVar(&q.Limit, "limit", 0, "list at most so many (0: all)")
	cmd.Flags().StringVar(&q.After, "after", "", "begin behind this address, or this place in a list with a limit")
	cmd.Flags().BoolVar(&count, "count", false, "print only how many there are")
	complete(cmd, "sort", admin.Sorts...)
	return a.onRegistrations(cmd, func(cmd *cobra.Command, _ []string, _ *config.Config, regs admin.Registrations) error {
		if q.Limit < 0 || q.Expiring < 0 {
			return usageError{errors.New("--limit and --expiring can't be negative")}
		}
		if count {
			n, err := regs.Count(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.printCount(n, asJSON)
		}
		list := paging[admin.Registration]{q.After, q.Limit, page, func(after string, n int) ([]admin.Registration, string, error) {
			q := q
			q.After, q.Limit = after, n
			page, err := regs.List(cmd.Context(), q)
			return page.Registrations, page.Next, err
		}}
		if q.Sort != "aor" {
			list.size = admin.MaxPage // as a page costs the store a look at all of them
		}
		return a.registrationPrinter(asJSON, time.Now()).list(a, list)
	})
}

// selectFlags adds the flags that select registrations by what does not change.
func selectFlags(cmd *cobra.Command, q *admin.Query) {
	cmd.Flags().StringVar(&q.AOR, "aor", "", "only addresses like this, with * for anything")
	cmd.Flags().StringVar(&q.UserAgent, "user-agent", "", "only user agents with this in their name")
	cmd.Flags().StringVar(&q.Transport, "transport", "", "only these: udp, tcp, tls, ws or wss")
	cmd.Flags().StringVar(&q.Node, "node", "", "only those of this node")
	cmd.Flags().StringVar(&q.Source, "source", "", "only those from this ADDRESS or PREFIX")
	complete(cmd, "transport", "udp", "tcp", "tls", "ws", "wss")
}

// complete lets a shell complete the values of a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // no such flag
	}
}

func (a *app) registrationPrinter(asJSON bool, now time.Time) printer[admin.Registration] {
	t := a.newTable("no registrations", "ADDRESS", "CONTACT", "FROM", "SINCE", "EXPIRES", "USER AGENT")
	return newPrinter(a, asJSON, t, func(r *admin.Registration) []string {
		return []string{r.AOR, r.Contact, source(r), age(now.Sub(r.Created)), "in " + age(r.Expires.Sub(now)), r.UserAgent}
	})
}

func (a *app) regShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME@DOMAIN",
		Short: "Show all registrations of an address",
		Args:  arguments(cobra.ExactArgs(1)),
	}
	jsonFlag(cmd, &asJSON)
	return a.onRegistrations(cmd, func(cmd *cobra.Command, args []string, cfg *config.Config, regs admin.Registrations) error {
		id, err := parseUser(args[0], cfg.Domains)
		if err != nil {
			return err
		}
		list, err := regs.Show(cmd.Context(), id.String())
		if err != nil {
			return err
		}
		now := time.Now()
		for i := range list {
			if err := a.showRegistration(&list[i], asJSON, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// showRegistration prints all that is known of a registration.
func (a *app) showRegistration(r *admin.Registration, asJSON bool, now time.Time) error {
	if asJSON {
		return a.jsonLines().Encode(r)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n", printable(r.Contact))
	for _, line := range []struct{ name, value string }{
		{"from", source(r)},
		{"to", r.Local},
		{"flow", flowText(r, now)},
		{"node", r.Node},
		{"expires", "in " + age(r.Expires.Sub(now))},
		{"registered", age(now.Sub(r.Created)) + " ago, refreshed " + age(now.Sub(r.Updated)) + " ago"},
		{"user agent", r.UserAgent},
		{"instance", r.Instance},
		{"GRUU", r.PubGRUU},
		{"reg-id", number(r.RegID)},
		{"methods", r.Methods},
		{"path", r.Path},
		{"parameters", r.Params},
		{"q", fmt.Sprint(r.Q)},
		{"call id", fmt.Sprintf("%s, CSeq %d", r.CallID, r.CSeq)},
		{"key", r.Key},
	} {
		if line.value != "" {
			fmt.Fprintf(&text, "  %-11s %s\n", line.name, printable(line.value))
		}
	}
	_, err := fmt.Fprint(a.out, text.String())
	return err
}

// number writes n unless it is none.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// flowText describes the connection to the contact.
func flowText(r *admin.Registration, now time.Time) string {
	if r.Flow == 0 {
		return ""
	}
	text := fmt.Sprintf("#%d", r.Flow)
	st := r.State
	switch {
	case st == nil:
		return text
	case !st.Reachable:
		return text + ", closed"
	}
	text += ", open"
	if st.TLS != "" {
		text += ", " + st.TLS
	}
	if len(st.Peer) > 0 {
		text += " as " + printable(strings.Join(st.Peer, ", "))
	}
	if !st.LastHeard.IsZero() {
		text += ", heard " + age(now.Sub(st.LastHeard)) + " ago"
	}
	if st.RTT > 0 {
		text += ", round trip " + milliText(st.RTT)
	}
	return text
}

// milliText writes milliseconds with three digits that count.
func milliText(ms float64) string {
	decimals := 0
	for limit := 100.0; ms < limit && decimals < 2; limit /= 10 {
		decimals++
	}
	return fmt.Sprintf("%.*f ms", decimals, ms)
}
