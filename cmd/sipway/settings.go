package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
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

// newSettings adds --config to the command, and --store.
func (a *app) newSettings(cmd *cobra.Command) *settings {
	s := a.configSettings(cmd)
	s.override(cmd, "store", "store", "store, sqlite:FILE, postgres://USER@HOST/DATABASE or memory:")
	return s
}

// serverSettings adds --config and --admin to a command that only the server can do.
func (a *app) serverSettings(cmd *cobra.Command) *settings {
	s := a.configSettings(cmd)
	s.admin(cmd)
	return s
}

func (a *app) configSettings(cmd *cobra.Command) *settings {
	s := &settings{app: a, keys: map[string]string{}}
	cmd.Flags().StringVarP(&s.file, "config", "c", "", "configuration file (environment: SIPWAY_CONFIG)")
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
	if inMemory(cfg) {
		return nil, usageError{errors.New("the store memory: is known to the running server only; name the server with --admin, or another store with --store")}
	}
	if file, ok := strings.CutPrefix(string(cfg.Store), "sqlite:"); ok && !create {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, describedError{"there is no store at " + file + ", name one with --store or --config", store.ErrUnavailable}
		}
	}
	st, err := dsn.Open(ctx, string(cfg.Store), dsn.Options{CacheBytes: int64(cfg.StoreCache)})
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", cfg.Store, err)
	}
	return st, nil
}

// admin adds --admin, by which a command reaches the running server.
func (s *settings) admin(cmd *cobra.Command) {
	s.override(cmd, "admin", "admin", "ask the server at this admin address, HOST:PORT, unix:PATH or https://HOST:PORT")
	s.override(cmd, "admin-token", "admin_token", "what the server's admin listener asks for, or file:PATH (environment: SIPWAY_ADMIN_TOKEN)")
}

// loadTarget is load for a command that works either on a store or with a server.
func (s *settings) loadTarget(cmd *cobra.Command) (*config.Config, error) {
	if cmd.Flags().Changed("admin") && cmd.Flags().Changed("store") {
		return nil, usageError{errors.New("--admin and --store: expects one of them, the server or the store itself")}
	}
	return s.load(cmd)
}

// client returns a client of the server at the configuration's admin address.
func (s *settings) client(cfg *config.Config) (*admin.Client, error) {
	if cfg.Admin == "" {
		return nil, usageError{errors.New("the configuration has no admin address, name one with --admin")}
	}
	if err := admin.CheckAddr(strings.TrimPrefix(cfg.Admin, "https://"), cfg.AdminToken.Value() != ""); err != nil {
		return nil, usageError{err}
	}
	roots, err := pool("tls.roots", cfg.TLS.Roots)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(cfg.Admin, admin.Access{Token: cfg.AdminToken.Value(), Roots: roots}), nil
}

// withStore runs f on the store that the command's flags name.
func withStore(ctx context.Context, cfg *config.Config, create bool, f func(store.Store) error) error {
	st, err := openStore(ctx, cfg, create)
	if err != nil {
		return err
	}
	return errors.Join(f(st), st.Close())
}

// withUsers runs f on the users of the store, or of the running server where --admin names one or
// nobody else knows them.
func (s *settings) withUsers(cmd *cobra.Command, create bool, f func(*config.Config, store.Users) error) error {
	cfg, err := s.loadTarget(cmd)
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("admin") || inMemory(cfg) && !cmd.Flags().Changed("store") {
		c, err := s.client(cfg)
		if err != nil {
			return err
		}
		return errors.Join(f(cfg, admin.Users{Client: c}), c.Close())
	}
	return withStore(cmd.Context(), cfg, create, func(st store.Store) error { return f(cfg, st) })
}

// withRegistrations runs f on the registrations of the running server, or of the store where
// --store names one or no server answers.
func (s *settings) withRegistrations(cmd *cobra.Command, f func(*config.Config, admin.Registrations) error) error {
	cfg, err := s.loadTarget(cmd)
	if err != nil {
		return err
	}
	if !cmd.Flags().Changed("store") && cfg.Admin != "" {
		c, err := s.client(cfg)
		if err != nil {
			return err
		}
		err = c.Alive(cmd.Context())
		if err == nil {
			return errors.Join(f(cfg, c), c.Close())
		}
		if cmd.Flags().Changed("admin") || inMemory(cfg) || !errors.Is(err, admin.ErrNoServer) {
			return err
		}
	}
	return withStore(cmd.Context(), cfg, false, func(st store.Store) error { return f(cfg, admin.Offline{Store: st}) })
}

// withServer runs f with the running server.
func (s *settings) withServer(cmd *cobra.Command, f func(*config.Config, *admin.Client) error) error {
	cfg, err := s.load(cmd)
	if err != nil {
		return err
	}
	c, err := s.client(cfg)
	if err != nil {
		return err
	}
	return errors.Join(f(cfg, c), c.Close())
}

// inMemory reports whether nobody but the server itself sees its store.
func inMemory(cfg *config.Config) bool { return strings.HasPrefix(string(cfg.Store), "memory:") }
