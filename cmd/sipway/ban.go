package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
)

func (a *app) banCommand() *cobra.Command {
	cmd := group("ban", "Look at the sources that are not heard, and change them",
		a.banListCommand(), a.banAddCommand(), a.banRemoveCommand())
	cmd.Long = `The running server bans sources that guess passwords, scan for users or send what can't be
read, each time for longer. A source is an IPv4 address or the /64 of an IPv6 address. Users who
have registered from there before are heard all the same. A restart forgets all bans.`
	return cmd
}

func (a *app) banListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the banned sources, those that end first at the top",
		Args:  arguments(cobra.NoArgs),
	}
	s := a.serverSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return s.withServer(cmd, func(_ *config.Config, c *admin.Client) error {
			bans, err := c.Bans(cmd.Context())
			if err != nil {
				return err
			}
			return a.banPrinter(asJSON).all(bans)
		})
	}
	return cmd
}

func (a *app) banPrinter(asJSON bool) printer[admin.Ban] {
	t := a.newTable("nobody is banned", "SOURCE", "REASON", "FOR", "SINCE", "BANS")
	return newPrinter(a, asJSON, t, func(b *admin.Ban) []string {
		left := age(time.Duration(b.ExpiresIn) * time.Second)
		return []string{b.Source, b.Reason, left, age(time.Since(b.Since)) + " ago", fmt.Sprint(b.Count)}
	})
}

func (a *app) banAddCommand() *cobra.Command {
	var (
		asJSON bool
		length time.Duration
	)
	cmd := &cobra.Command{
		Use:     "add ADDRESS",
		Short:   "Ban a source",
		Args:    arguments(cobra.ExactArgs(1)),
		Example: "  sipway ban add 198.51.100.7 --for 24h",
	}
	s := a.serverSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().DurationVar(&length, "for", time.Hour, "how long")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		addr, err := admin.ParseSource(args[0])
		if err == nil && length <= 0 {
			err = errors.New("--for: expects more than nothing")
		}
		if err != nil {
			return usageError{err}
		}
		return s.withServer(cmd, func(_ *config.Config, c *admin.Client) error {
			ban, err := c.AddBan(cmd.Context(), addr, length)
			if err != nil {
				return err
			}
			return a.banPrinter(asJSON).all([]admin.Ban{ban})
		})
	}
	return cmd
}

func (a *app) banRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm ADDRESS",
		Aliases: []string{"remove"},
		Short:   "End a ban, and forget what the source has done",
		Args:    arguments(cobra.ExactArgs(1)),
	}
	s := a.serverSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		addr, err := admin.ParseSource(args[0])
		if err != nil {
			return usageError{err}
		}
		return s.withServer(cmd, func(_ *config.Config, c *admin.Client) error {
			if err := c.RemoveBan(cmd.Context(), addr); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "%s is heard again\n", addr)
			return err
		})
	}
	return cmd
}
