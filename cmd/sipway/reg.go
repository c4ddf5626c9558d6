package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/store"
)

func (a *app) regCommand() *cobra.Command {
	return group("reg", "Look at the registrations", a.regListCommand(), a.regShowCommand())
}

// bindingJSON is a binding as `reg list --json` and `reg show --json` print it. The names are
// fixed: scripts read them.
type bindingJSON struct {
	AOR       string    `json:"aor"`
	Key       string    `json:"key"`
	Contact   string    `json:"contact"`
	Params    string    `json:"params,omitempty"`
	Path      string    `json:"path,omitempty"`
	Q         float64   `json:"q"`
	Instance  string    `json:"instance,omitempty"`
	RegID     int       `json:"reg_id,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
	CallID    string    `json:"call_id"`
	CSeq      uint32    `json:"cseq"`
	Transport string    `json:"transport"`
	Remote    string    `json:"remote"`
	Local     string    `json:"local"`
	Flow      uint64    `json:"flow,omitempty"`
	Node      string    `json:"node,omitempty"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	Expires   time.Time `json:"expires"`
	ExpiresIn int64     `json:"expires_in"` // seconds
}

func toBindingJSON(b *store.Binding, now time.Time) bindingJSON {
	return bindingJSON{
		AOR: b.AOR, Key: b.Key, Contact: b.Contact, Params: b.Params, Path: b.Path, Q: float64(b.Q) / 1000,
		Instance: b.Instance, RegID: b.RegID, UserAgent: b.UserAgent, CallID: b.CallID, CSeq: b.CSeq,
		Transport: strings.ToLower(b.Flow.Transport.String()), Remote: b.Flow.Remote.String(), Local: b.Flow.Local.String(),
		Flow: b.Flow.ID, Node: b.Node,
		Created: b.Created.UTC(), Updated: b.Updated.UTC(), Expires: b.Expires.UTC(), ExpiresIn: int64(b.Expires.Sub(now) / time.Second),
	}
}

func (a *app) regListCommand() *cobra.Command {
	var (
		asJSON         bool
		limit          int
		pattern, after string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the registrations by address",
		Args:  arguments(cobra.NoArgs),
		Example: `  sipway reg list --aor '*@example.test' --limit 50
  sipway reg list --json | jq -r .contact`,
	}
	s := a.newSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().StringVar(&pattern, "aor", "", "only addresses like this, with * for anything")
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many (0: all)")
	cmd.Flags().StringVar(&after, "after", "", "begin behind this address, or this place in a list with a limit")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return s.withStore(cmd, false, func(_ *config.Config, st store.Store) error {
			now := time.Now()
			next := func(from store.Cursor, n int) ([]store.Binding, error) {
				return st.List(cmd.Context(), store.Query{Pattern: pattern, After: from, Limit: n, Now: now})
			}
			print, flush := a.bindingPrinter(asJSON, now)
			last, more, err := walk(parseCursor(after), limit, next, store.ByAOR.Cursor, print)
			if err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
			if more {
				a.more(last.AOR + " " + last.Key)
			}
			return nil
		})
	}
	return cmd
}

// parseCursor reads "AOR KEY", the place of one binding, or "AOR", behind all of its bindings.
func parseCursor(s string) store.Cursor {
	if s == "" {
		return store.Cursor{}
	}
	if aor, key, ok := strings.Cut(s, " "); ok {
		return store.Cursor{AOR: aor, Key: key}
	}
	return store.Cursor{AOR: s, Key: "\U0010ffff"} // above the keys of real bindings
}

// bindingPrinter returns what prints a binding as a line, and what is to be called after the last.
func (a *app) bindingPrinter(asJSON bool, now time.Time) (print func(*store.Binding) error, flush func() error) {
	if asJSON {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false) // contacts are full of & and <
		return func(b *store.Binding) error { return enc.Encode(toBindingJSON(b, now)) }, func() error { return nil }
	}
	t := a.newTable("no registrations", "ADDRESS", "CONTACT", "FROM", "EXPIRES", "USER AGENT")
	return func(b *store.Binding) error {
		return t.row(b.AOR, b.Contact, source(b), "in "+age(b.Expires.Sub(now)), b.UserAgent)
	}, t.end
}

func (a *app) regShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME@DOMAIN",
		Short: "Show all registrations of an address",
		Args:  arguments(cobra.ExactArgs(1)),
	}
	s := a.newSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.withStore(cmd, false, func(cfg *config.Config, st store.Store) error {
			id, err := parseUser(args[0], cfg.Domains)
			if err != nil {
				return err
			}
			now := time.Now()
			bindings, err := st.Lookup(cmd.Context(), id.String(), now)
			if err != nil {
				return err
			}
			if len(bindings) == 0 {
				return describedError{id.String() + " is not registered", store.ErrNotFound}
			}
			for i := range bindings {
				if err := a.showBinding(&bindings[i], asJSON, now); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

// showBinding prints all that is known of a binding.
func (a *app) showBinding(b *store.Binding, asJSON bool, now time.Time) error {
	if asJSON {
		print, _ := a.bindingPrinter(true, now)
		return print(b)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n", printable(b.Contact))
	for _, line := range []struct{ name, value string }{
		{"from", source(b)},
		{"expires", "in " + age(b.Expires.Sub(now))},
		{"registered", age(now.Sub(b.Created)) + " ago, refreshed " + age(now.Sub(b.Updated)) + " ago"},
		{"user agent", b.UserAgent},
		{"instance", b.Instance},
		{"path", b.Path},
		{"parameters", b.Params},
		{"q", fmt.Sprint(float64(b.Q) / 1000)},
		{"call id", fmt.Sprintf("%s, CSeq %d", b.CallID, b.CSeq)},
	} {
		if line.value != "" {
			fmt.Fprintf(&text, "  %-11s %s\n", line.name, printable(line.value))
		}
	}
	_, err := fmt.Fprint(a.out, text.String())
	return err
}

// source says where a binding's requests come from: "ws 192.0.2.1:50000".
func source(b *store.Binding) string {
	return strings.ToLower(b.Flow.Transport.String()) + " " + b.Flow.Remote.String()
}

// age writes a time span as people say it: its two largest units.
func age(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	day := 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}
