package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
)

func (a *app) configCommand() *cobra.Command {
	return group("config", "Check and show the configuration",
		a.configCheckCommand(), a.configShowCommand(), a.configReferenceCommand())
}

func (a *app) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a configuration file",
		Long:  "Check reads the file as `sipway serve` would, without environment variables, and says\nwhat is wrong with it and in which line. It exits with 2 if there is anything.",
		Args:  arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0], func(string) (string, bool) { return "", false }, nil)
			if err == nil && cfg.Admin != "" {
				err = admin.CheckAddr(cfg.Admin, adminGuarded(cfg))
			}
			if err == nil {
				err = checkCertificates(&cfg.TLS)
			}
			if err != nil {
				return usageError{err}
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintf(a.err, "warning: %s\n", w)
			}
			_, err = fmt.Fprintf(a.out, "%s: OK\n", args[0])
			return err
		},
	}
}

func (a *app) configShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the effective configuration",
		Long:  "Show prints the configuration that `sipway serve` with the same file, environment and\nflags would run with, as a configuration file that explains itself.",
		Args:  arguments(cobra.NoArgs),
	}
	s := a.newSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := s.load(cmd)
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(a.out).Encode(cfg)
		}
		text, err := cfg.YAML()
		if err != nil {
			return err
		}
		_, err = a.out.Write(text)
		return err
	}
	return cmd
}

func (a *app) configReferenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reference",
		Short: "Print a Markdown table of all keys",
		Args:  arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(a.out, config.Reference())
			return err
		},
	}
}
