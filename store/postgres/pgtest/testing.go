package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"
)

// variable names a server that tests may make databases on, instead of one of their own.
const variable = "SIPWAY_TEST_POSTGRES"

// shared is the cluster of all tests of a process that need nothing special.
var shared struct {
	mu      sync.Mutex
	cluster *Cluster
	err     error // of its start: the tests that follow need not try
	made    int
}

// Main runs the tests of a package and ends the cluster that they share.
func Main(m *testing.M) int {
	defer func() {
		if shared.cluster != nil {
			if err := shared.cluster.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	return m.Run()
}

// Database makes an empty database, on the server that SIPWAY_TEST_POSTGRES names or on a
// cluster that the tests of the process share, and returns its DSN. The package's TestMain
// must call Main.
func Database(tb testing.TB) string {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	dsn, err := database(context.WithoutCancel(tb.Context()))
	if err != nil {
		tb.Fatal(err)
	}
	return dsn
}

func database(ctx context.Context) (string, error) {
	if dsn := os.Getenv(variable); dsn != "" {
		u, err := url.Parse(dsn)
		if err != nil {
			return "", fmt.Errorf("%s is not a URL", variable)
		}
		shared.made++
		name := fmt.Sprintf("sipway_test_%d_%d_%d", os.Getpid(), time.Now().UnixNano(), shared.made)
		err = createDatabase(ctx, dsn, name)
		u.Path = "/" + name
		return u.String(), err
	}
	if shared.cluster == nil && shared.err == nil {
		shared.cluster, shared.err = New(ctx, Options{Settings: []string{"fsync = off"}}) // nobody kills it
	}
	if shared.err != nil {
		return "", shared.err
	}
	return shared.cluster.NewDatabase(ctx)
}

// Start starts a cluster that the test may harm, and closes it when the test ends.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c, err := New(context.WithoutCancel(tb.Context()), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			text, _ := os.ReadFile(c.Log())
			tb.Logf("end of PostgreSQL's log:\n%s", text[max(0, len(text)-4000):])
		}
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}
