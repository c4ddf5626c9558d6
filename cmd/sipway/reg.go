package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
)

func (a *app) regCommand() *cobra.Command {
	cmd := group("reg", "Look at the registrations and end them",
		a.regListCommand(), a.regShowCommand(), a.regWatchCommand(), a.regRemoveCommand(), a.regPingCommand())
	cmd.Long = `The commands below ask the running server, at the address that --admin names, else the
configuration. Where none answers there, they work on the store that the configuration names;
with --store they always do.`
	return cmd
}

// onRegistrations adds the flags of a command on the registrations, which runs f with them.
func (a *app) onRegistrations(cmd *cobra.Command, f func(cmd *cobra.Command, args []string, cfg *config.Config, regs admin.Registrations) error) *cobra.Command {
	s := a.newSettings(cmd)
	s.admin(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.withRegistrations(cmd, func(cfg *config.Config, regs admin.Registrations) error {
			return f(cmd, args, cfg, regs)
		})
	}
	return cmd
}

// source says where a registration came from: "ws 192.0.2.1:50000".
func source(r *admin.Registration) string { return r.Transport + " " + r.Remote }

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

func (a *app) regRemoveCommand() *cobra.Command {
	var kick, asJSON bool
	cmd := &cobra.Command{
		Use:     "rm NAME@DOMAIN [CONTACT]",
		Aliases: []string{"remove"},
		Short:   "End the registrations of an address, or one of them",
		Long: `Rm ends all registrations of an address, or the one whose contact URI or key is CONTACT. The
client is not told: it registers again when it would have refreshed. With --kick the server
closes the connection too, so that the client notices at once; whatever else lives on the
connection ends with it.`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		Example: `  sipway reg rm alice@example.test
  sipway reg rm --kick alice@example.test 'sip:x1y2@q3.invalid;transport=ws'`,
	}
	cmd.Flags().BoolVar(&kick, "kick", false, "close the connection too")
	jsonFlag(cmd, &asJSON)
	return a.onRegistrations(cmd, func(cmd *cobra.Command, args []string, cfg *config.Config, regs admin.Registrations) error {
		id, err := parseUser(args[0], cfg.Domains)
		if err != nil {
			return err
		}
		contact := ""
		if len(args) > 1 {
			contact = args[1]
		}
		if _, offline := regs.(admin.Offline); offline && kick {
			return fmt.Errorf("--kick: %w: only a running server can close connections", admin.ErrNoServer)
		}
		removed, err := regs.Remove(cmd.Context(), id.String(), contact, kick)
		if err != nil {
			return err
		}
		if asJSON {
			enc := a.jsonLines()
			for i := range removed {
				if err := enc.Encode(&removed[i]); err != nil {
					return err
				}
			}
			return nil
		}
		var text strings.Builder
		for i := range removed {
			r := &removed[i]
			fmt.Fprintf(&text, "%s removed%s\n", printable(r.Contact), kickNote(r, kick))
		}
		_, err = fmt.Fprint(a.out, text.String())
		return err
	})
}

// kickNote says what became of the connection of a registration that was removed.
func kickNote(r *admin.Removal, kick bool) string {
	switch {
	case !kick:
		return ""
	case r.Kicked:
		return ", connection from " + r.Remote + " closed"
	case r.Flow == 0:
		return ", over UDP there is no connection to close"
	}
	return ", its connection is not open on this server"
}
