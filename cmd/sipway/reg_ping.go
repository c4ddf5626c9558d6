package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
)

func (a *app) regPingCommand() *cobra.Command {
	var (
		asJSON  bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "ping NAME@DOMAIN",
		Short: "Ask every contact of an address whether it is there",
		Long: `Ping has the running server send an OPTIONS to every contact of an address, the way a call
would go, and prints what each answers and after which time. Any response says that somebody is
there. The exit code is 1 where a contact does not answer.`,
		Args: arguments(cobra.ExactArgs(1)),
	}
	s := a.serverSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for answers")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.withServer(cmd, func(cfg *config.Config, c *admin.Client) error {
			id, err := parseUser(args[0], cfg.Domains)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			pongs, err := c.Ping(ctx, id.String())
			if err != nil {
				return err
			}
			if err := a.pongPrinter(asJSON).all(pongs); err != nil {
				return err
			}
			for i := range pongs {
				if pongs[i].Status == 0 {
					return errors.New("not all contacts answered")
				}
			}
			return nil
		})
	}
	return cmd
}

func (a *app) pongPrinter(asJSON bool) printer[admin.Pong] {
	t := a.newTable("", "CONTACT", "FROM", "ROUND TRIP", "ANSWER")
	return newPrinter(a, asJSON, t, func(p *admin.Pong) []string {
		trip, text := "", p.Error
		if p.Status != 0 {
			trip, text = milliText(p.RTT), fmt.Sprintf("%d %s", p.Status, p.Reason)
		}
		return []string{p.Contact, source(&p.Registration), trip, text}
	})
}
