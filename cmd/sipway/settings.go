package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/dsn"
)

// settings are the flags by which a command learns its configuration.
type settings struct {
	app  *app
	file string
	keys map[string]string // name of a flag -> key that it overrides
}

// newSettings adds --config to the command, and --store, which all commands have that need one.
func (a *app) newSettings(cmd *cobra.Command) *settings {
	s := &settings{app: a, keys: map[string]string{}}
	cmd.Flags().StringVarP(&s.file, "config", "c", "", "configuration file (environment: SIPWAY_CONFIG)")
	s.override(cmd, "store", "store", "store, sqlite:FILE or memory:")
	return s
}

// override adds a flag that stands for a key with one value.
func (s *settings) override(cmd *cobra.Command, flag, key, usage string) {
	cmd.Flags().String(flag, "", usage)
	s.keys[flag] = key
}

// overrideList adds a flag that stands for a key with a list, and can be repeated.
func (s *settings) overrideList(cmd *cobra.Command, flag, key, usage string) {
	cmd.Flags().StringSlice(flag, nil, usage+"; can be repeated")
	s.keys[flag] = key
}

// load returns the effective configuration.
func (s *settings) load(cmd *cobra.Command) (*config.Config, error) {
	file := s.file
	if file == "" {
		file, _ = s.app.env("SIPWAY_CONFIG")
	}
	var flags []config.Override
	for flag, key := range s.keys {
		if !cmd.Flags().Changed(flag) {
			continue
		}
		o := config.Override{Flag: "--" + flag, Key: key}
		if list, err := cmd.Flags().GetStringSlice(flag); err == nil {
			o.Values = list
		} else {
			o.Values = []string{cmd.Flags().Lookup(flag).Value.String()}
		}
		flags = append(flags, o)
	}
	cfg, err := config.Load(file, s.app.env, flags)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

// openStore opens the store of a command that works on it beside the server. Only one that fills
// the store may create it: a wrong path should not look like an empty store.
func openStore(ctx context.Context, cfg *config.Config, create bool) (store.Store, error) {
	if strings.HasPrefix(cfg.Store, "memory:") {
		return nil, usageError{errors.New("the store memory: is known to the running server only; name another one with --store, or use users_file to give that server its users")}
	}
	if file, ok := strings.CutPrefix(cfg.Store, "sqlite:"); ok && !create {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, describedError{"there is no store at " + file + ", name one with --store or --config", store.ErrUnavailable}
		}
	}
	st, err := dsn.Open(ctx, cfg.Store)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", cfg.Store, err)
	}
	return st, nil
}

// withStore runs f on the store that the command's flags name.
func (s *settings) withStore(cmd *cobra.Command, create bool, f func(*config.Config, store.Store) error) error {
	cfg, err := s.load(cmd)
	if err != nil {
		return err
	}
	st, err := openStore(cmd.Context(), cfg, create)
	if err != nil {
		return err
	}
	return errors.Join(f(cfg, st), st.Close())
}
