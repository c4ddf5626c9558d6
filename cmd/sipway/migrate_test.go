package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sipway/sipway/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestMigrate(t *testing.T) {
	c := newCLI(t)
	c.expect(exitUsage, "has no database", "", "migrate", "status", "--store", "memory:")
	c.expect(exitFailure, "no such file", "", "migrate", "status")
	c.expect(exitOK, "up to date", "", "migrate", "up")
	c.expect(exitOK, `{"store":"sqlite:sipway.db","version":`, "", "migrate", "status", "--json")

	dsn := pgtest.Database(t)
	c.expect(exitOK, "version 0, version 1 is needed", "", "migrate", "status", "--store", dsn)
	c.expect(exitOK, "version 1, up to date", "", "migrate", "up", "--store", dsn)
	c.expect(exitOK, "", "secret\n", "user", "add", "alice@a.test", "--store", dsn)
	c.expect(exitOK, "alice@a.test", "", "user", "list", "--store", dsn)
}

// Nothing that is printed has the password of the database in it.
func TestPasswordIsNotPrinted(t *testing.T) {
	c := newCLI(t)
	c.env["SIPWAY_STORE"] = "postgres://sipway:geheim@127.0.0.1:1/sipway"
	for _, args := range [][]string{
		{"config", "show"}, {"config", "show", "--json"}, {"migrate", "up"}, {"migrate", "status"},
		{"user", "list"}, {"serve", "--admin", "", "--listen", "udp://127.0.0.1:0"},
	} {
		_, out, err := c.run("", args...)
		if strings.Contains(out+err, "geheim") {
			t.Errorf("sipway %s prints the password:\n%s%s", strings.Join(args, " "), out, err)
		}
		if args[0] == "config" && !strings.Contains(out, "postgres://sipway:xxxxx@127.0.0.1:1/sipway") {
			t.Errorf("sipway %s:\n%s", strings.Join(args, " "), out)
		}
	}
}
