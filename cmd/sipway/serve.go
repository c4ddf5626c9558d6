package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/dsn"
)

var (
	errStarting = errors.New("starting")
	errDraining = errors.New("draining")
)

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Serve runs the server until it is asked to end. The first SIGTERM or SIGINT drains it:
it is not ready any more and takes no new calls, closes the browsers' connections little by
little (drain.spread), waits for calls that are being set up, and ends within drain.timeout.
A second one ends it at once.`,
		Example: `  sipway serve
  sipway serve --domain example.test --listen udp://0.0.0.0:5060 --listen ws://0.0.0.0:8080/
  sipway serve --config /etc/sipway/sipway.yaml`,
		Args: arguments(cobra.NoArgs),
	}
	s := a.newSettings(cmd)
	s.overrideList(cmd, "domain", "domains", "SIP domain to serve")
	s.overrideList(cmd, "listen", "listen", "URL to listen on, udp://, tcp:// or ws://HOST:PORT")
	s.override(cmd, "admin", "admin", "address of the admin listener, empty for none")
	s.override(cmd, "admin-token", "admin_token", "what clients of the admin listener must show, or file:PATH (environment: SIPWAY_ADMIN_TOKEN)")
	s.override(cmd, "users-file", "users_file", "CSV file of users to load at start")
	s.override(cmd, "log-level", "log.level", "debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := s.load(cmd)
		if err != nil {
			return err
		}
		if cfg.Admin != "" {
			if err := admin.CheckAddr(cfg.Admin, adminGuarded(cfg)); err != nil {
				return usageError{err}
			}
		}
		return a.serve(cmd.Context(), cfg, func() (*config.Config, error) { return s.load(cmd) })
	}
	return cmd
}

// serve runs a server until a signal or the end of ctx. load reads its configuration again.
func (a *app) serve(ctx context.Context, cfg *config.Config, load func() (*config.Config, error)) error {
	signals, release := a.catch(syscall.SIGTERM, os.Interrupt)
	defer release()
	p := &process{cfg: cfg, started: time.Now(), office: newOffice(cfg)}
	p.configuration.load, p.configuration.current = load, cfg
	p.configuration.level.Set(cfg.Log.Level)
	log := newLogger(a.err, cfg.Log, &p.configuration.level, a.colored(a.err))
	log.Info("sipway starts", "version", buildVersion().Version, "domains", cfg.Domains)
	for _, w := range cfg.Warnings() {
		log.Warn(w)
	}
	if err := raiseDescriptors(); err != nil {
		log.Warn("limit of open files not raised", "error", err)
	}
	st, err := a.prepareStore(ctx, cfg, log)
	if err != nil {
		return err
	}
	meters := newStoreMeters()
	p.store, p.meters, p.log = metered{st, meters}, meters, log
	defer st.Watch(p.changes.elsewhere)()
	if err := p.start(ctx); err != nil {
		return errors.Join(err, p.end(ctx))
	}
	defer a.reloadOnHangup(ctx, p)()
	select {
	case sig := <-signals:
		log.Info("draining, a second signal ends at once", "signal", sig, "at_most", p.configuration.effective().Drain.Timeout)
	case <-ctx.Done():
	}
	return p.drain(signals)
}

// prepareStore opens the store and gives it the users of the configured file.
func (a *app) prepareStore(ctx context.Context, cfg *config.Config, log *slog.Logger) (store.Store, error) {
	st, err := dsn.Open(ctx, string(cfg.Store), dsn.Options{CacheBytes: int64(cfg.StoreCache), Logger: log})
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", cfg.Store, err)
	}
	log.Info("store open", "store", cfg.Store)
	if cfg.UsersFile != "" {
		n, err := loadUsersFile(ctx, st, cfg.UsersFile)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = usageError{err}
			}
			return nil, errors.Join(err, st.Close())
		}
		log.Info("users loaded", "file", cfg.UsersFile, "users", n)
	}
	return st, nil
}

// drain ends the server in good order, or at once at another signal.
func (p *process) drain(signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.configuration.effective().Drain.Timeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.end(ctx) }()
	select {
	case err := <-ended:
		if errors.Is(err, context.DeadlineExceeded) {
			p.log.Warn("not everything ended in time", "error", err)
			return nil
		}
		if err == nil {
			p.log.Info("ended")
		}
		return err
	case sig := <-signals:
		return fmt.Errorf("ended at once by a second signal (%v)", sig)
	}
}

// process is a server with what surrounds it: the store below and the admin listener beside it.
type process struct {
	cfg     *config.Config
	store   store.Store
	meters  *storeMeters
	log     *slog.Logger
	started time.Time

	encryption *encryption

	server  atomic.Pointer[server] // nil until it serves
	admin   *admin.Server
	changes changes
	office  *office

	configuration configuration
	count         registrationCount
	draining      atomic.Bool
}

// start opens the admin listener, so that probes get an answer, and then the server.
func (p *process) start(ctx context.Context) error {
	var err error
	if p.encryption, err = newEncryption(p.cfg, p.log); err != nil {
		return err
	}
	if p.cfg.Admin != "" {
		if err := p.startAdmin(ctx); err != nil {
			return err
		}
	}
	s, err := newServer(p.cfg, p.store, p.office, p.encryption, p.log)
	if err != nil {
		return err
	}
	s.registrar.Watch(p.changes.publish)
	p.server.Store(s)
	p.log.Info("ready", "took", time.Since(p.started).Round(time.Millisecond))
	return nil
}

func (p *process) startAdmin(ctx context.Context) error {
	srv, err := admin.New(admin.Config{
		Addr:    p.cfg.Admin,
		Version: buildVersion().Version,
		Status:  p.status,
		Ready:   p.ready,

		Registrations: newDirectory(p),
		Calls:         callBook{p},
		Users:         checkedUsers{p.store},
		Bans:          bans{p},
		Reload:        p.reload,
		Metrics:       newMetrics(p).handler(),
		Office:        p.office,

		Token: p.cfg.AdminToken.Value(), TLS: p.encryption.listen,

		Logger: p.log,
	})
	if err != nil {
		return err
	}
	addr, err := srv.Start(ctx)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: stop what listens there (another sipway?), or name another address with --admin", err)
	case err != nil:
		return err
	}
	p.admin = srv
	p.log.Info("listening", "transport", "admin", "addr", addr)
	return nil
}

// adminGuarded reports whether the admin listener may leave this machine.
func adminGuarded(cfg *config.Config) bool { return cfg.AdminToken.Value() != "" && cfg.TLS.Enabled() }

// ready is nil while the server takes calls.
func (p *process) ready() error {
	switch {
	case p.draining.Load():
		return errDraining
	case p.server.Load() == nil:
		return errStarting
	}
	return nil
}

// end closes everything in the order of its dependence: the server, what watches it, the store.
func (p *process) end(ctx context.Context) error {
	p.draining.Store(true)
	var errs []error
	if s := p.server.Load(); s != nil {
		s.drain(ctx, p.configuration.effective().Drain)
		errs = append(errs, s.shutdown(ctx))
	}
	if p.admin != nil {
		errs = append(errs, p.admin.Shutdown(ctx))
	}
	return errors.Join(append(errs, p.store.Close())...)
}
