package postgres_test

import (
	"log/slog"
	"os"
	"testing"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/postgres"
	"github.com/sipway/sipway/store/postgres/pgtest"
	"github.com/sipway/sipway/store/storetest"
)

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m))
}

func TestContract(t *testing.T) {
	storetest.Run(t, opener(postgres.Config{}))
}

// A cache of one entry per shard forgets all the time, so most writes take the slow way and
// most reads race with writes.
func TestContractTinyCache(t *testing.T) {
	storetest.Run(t, opener(postgres.Config{CacheBytes: 1, Lanes: 4}))
}

func opener(cfg postgres.Config) func(*testing.T) store.Store {
	return func(t *testing.T) store.Store { return openStore(t, pgtest.Database(t), cfg) }
}

func openStore(t testing.TB, dsn string, cfg postgres.Config) *postgres.Store {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	s, err := postgres.Open(t.Context(), dsn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
