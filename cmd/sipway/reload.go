package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/registrar"
)

// reloadable are the keys that change in a running server without any connection being lost, with a
// dot behind a group. The others take effect at the next start.
var reloadable = []string{
	"log.level", "trusted", "drain.", "turn.", "auth.tokens.",
	"registrar.min_expires", "registrar.default_expires", "registrar.max_expires", "registrar.max_contacts",
	"limits.requests", "limits.burst", "limits.user_requests", "limits.user_burst", "limits.failures", "limits.user_failures",
	"limits.first_ban", "limits.max_ban", "limits.exempt",
}

func isReloadable(key string) bool {
	return slices.ContainsFunc(reloadable, func(r string) bool {
		return key == r || strings.HasSuffix(r, ".") && strings.HasPrefix(key, r)
	})
}

// configuration is what a running server is configured with, and where to look whether that has
// changed.
type configuration struct {
	load  func() (*config.Config, error) // reads it again
	level slog.LevelVar

	mu      sync.Mutex
	current *config.Config // what was read last
}

// effective returns what was read last.
func (c *configuration) effective() *config.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// reload reads the configuration again, and the files of users, certificates and keys of tokens.
// With an error the old configuration stays in force, all of it.
func (p *process) reload(ctx context.Context) (r admin.Reloaded, err error) {
	c := &p.configuration
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if err != nil {
			p.log.Error("configuration not reloaded, the old one stays in force", "error", err)
		}
	}()
	s := p.server.Load()
	if s == nil {
		return r, errStarting
	}
	s.records.reopen() // whatever becomes of the rest
	next, err := c.load()
	if err != nil {
		return r, admin.BadRequest(err)
	}
	useTokens, err := s.changeTokens(&next.Auth.Tokens)
	if err != nil {
		return r, admin.BadRequest(err)
	}
	if files := s.encryption.files; files != nil {
		if err := files.Reload(); err != nil {
			return r, admin.BadRequest(fmt.Errorf("tls: %w", err))
		}
	}
	if next.UsersFile != "" {
		if _, err := loadUsersFile(ctx, p.store, next.UsersFile); err != nil {
			return r, admin.BadRequest(err)
		}
	}
	for _, key := range config.Diff(c.current, next) {
		if isReloadable(key) {
			r.Applied = append(r.Applied, key)
		} else {
			r.Restart = append(r.Restart, key)
		}
	}
	useTokens()
	p.apply(s, next)
	// What needs a restart is told again next time, for it is not in force.
	c.current = c.current.With(next, isReloadable)
	p.log.Info("configuration reloaded", "applied", r.Applied, "needs_restart", r.Restart)
	for _, w := range next.Warnings() {
		p.log.Warn(w)
	}
	return r, nil
}

// apply puts the reloadable keys in force.
func (p *process) apply(s *server, cfg *config.Config) {
	p.configuration.level.Set(cfg.Log.Level)
	s.auth.SetTrusted(trusted(cfg))
	s.registrar.SetLimits(registrarLimits(cfg))
	s.limits.SetBounds(limiterBounds(cfg))
	s.setExempt(cfg)
	p.office.setTURN(&cfg.TURN)
}

func trusted(cfg *config.Config) []auth.Peer {
	peers := make([]auth.Peer, len(cfg.Trusted))
	for i, p := range cfg.Trusted {
		peers[i] = p.Peer
	}
	return peers
}

func registrarLimits(cfg *config.Config) registrar.Limits {
	r := cfg.Registrar
	return registrar.Limits{MinExpires: r.MinExpires, DefaultExpires: r.DefaultExpires, MaxExpires: r.MaxExpires, MaxContacts: r.MaxContacts}
}

// reloadOnHangup reloads at every SIGHUP until ctx ends. What is wrong is logged.
func (a *app) reloadOnHangup(ctx context.Context, p *process) (stop func()) {
	hangups, release := a.catch(syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-hangups:
				_, _ = p.reload(ctx) // which has logged what is wrong
			case <-done:
				return
			}
		}
	}()
	return func() { release(); close(done) }
}

func (a *app) reloadCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running server read its configuration again",
		Long: `Reload has the running server read its configuration again, and the files of users,
certificates and keys of tokens, as SIGHUP does. What can change without a connection being lost changes: ` + strings.Join(reloadable, ", ") + `.
What can't is named, and takes effect at the next start. If anything is wrong, all of the old
configuration stays in force, and reload says what it is and exits with 2.`,
		Args: arguments(cobra.NoArgs),
	}
	s := a.serverSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return s.withServer(cmd, func(_ *config.Config, c *admin.Client) error {
			r, err := c.Reload(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return a.jsonLines().Encode(r)
			}
			var text strings.Builder
			for _, key := range r.Applied {
				fmt.Fprintf(&text, "%s is in force\n", key)
			}
			for _, key := range r.Restart {
				fmt.Fprintf(&text, "%s has changed and needs a restart\n", key)
			}
			if text.Len() == 0 {
				text.WriteString("nothing has changed\n")
			}
			_, err = fmt.Fprint(a.out, text.String())
			return err
		})
	}
	return cmd
}
