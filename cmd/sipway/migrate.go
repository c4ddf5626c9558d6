package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/store/dsn"
)

func (a *app) migrateCommand() *cobra.Command {
	return group("migrate", "Bring the database to this version", a.migrateUpCommand(), a.migrateStatusCommand())
}

// migrateTarget returns the configuration of a command about the database.
func migrateTarget(s *settings, cmd *cobra.Command) (*config.Config, error) {
	cfg, err := s.load(cmd)
	if err == nil && inMemory(cfg) {
		err = usageError{errors.New("the store memory: has no database")}
	}
	return cfg, err
}

func (a *app) migrateUpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Apply the migrations that the database lacks",
		Long: `Up applies the migrations that the database lacks, or makes the database's tables. A
server does the same when it starts; this is for when its own user may not.`,
		Args: arguments(cobra.NoArgs),
	}
	s := a.newSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := migrateTarget(s, cmd)
		if err != nil {
			return err
		}
		st, err := openStore(cmd.Context(), cfg, true)
		if err != nil {
			return err
		}
		if err := st.Close(); err != nil {
			return err
		}
		return a.migrateStatus(cmd, cfg, false)
	}
	return cmd
}

func (a *app) migrateStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the version of the database and the one that is needed",
		Args:  arguments(cobra.NoArgs),
	}
	s := a.newSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := migrateTarget(s, cmd)
		if err != nil {
			return err
		}
		return a.migrateStatus(cmd, cfg, asJSON)
	}
	return cmd
}

func (a *app) migrateStatus(cmd *cobra.Command, cfg *config.Config, asJSON bool) error {
	st, err := dsn.Status(cmd.Context(), string(cfg.Store))
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(a.out).Encode(struct {
			Store   string `json:"store"`
			Version int64  `json:"version"`
			Needed  int64  `json:"needed"`
		}{cfg.Store.String(), st.Current, st.Target})
	}
	state := "up to date"
	if st.Current < st.Target {
		state = fmt.Sprintf("version %d is needed, sipway migrate up brings it there", st.Target)
	}
	_, err = fmt.Fprintf(a.out, "%s: version %d, %s\n", cfg.Store, st.Current, state)
	return err
}
