package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sipway/sipway/cmd/sipway/config"
)

// What can change without a connection being lost changes at once, the rest is named, and a bad file
// changes nothing.
func TestReload(t *testing.T) {
	c := newCLI(t)
	c.write("users.csv", "alice,a.test,secret\n")
	const base = "users_file: users.csv\nregistrar: {default_expires: 5m}\n"
	c.write("sipway.yaml", base)
	l := c.lab("--config", "sipway.yaml")
	alice := dial(t, "tcp", l.tcp, "alice")
	expires := func(want string) {
		t.Helper()
		alice.send("REGISTER", "sip:a.test", "<sip:alice@a.test>", "Contact: <"+alice.contact()+">;expires=60\r\n", "")
		if m := alice.receive(); !strings.Contains(string(m.Bytes()), want) {
			t.Errorf("want %q\n%s", want, m.Bytes())
		}
	}
	expires("expires=60")
	l.expect(exitOK, "nothing has changed\n", "", "reload")

	c.write("sipway.yaml", base+"limits: {max_message: 1MiB}\nlog: {level: debug}\nregistrar: {min_expires: 2m}\n")
	l.expect(exitUsage, "sipway.yaml:5: registrar", "", "reload")
	c.write("sipway.yaml", "users_file: users.csv\nregistrar: {default_expires: 5m, min_expires: 2m, max_contact: 3}\n")
	l.expect(exitUsage, "registrar.max_contact: unknown key, did you mean registrar.max_contacts?", "", "reload")
	l.await(t, "configuration not reloaded, the old one stays in force.*sipway.yaml:2")
	expires("expires=60")

	c.write("users.csv", "alice,a.test,secret\nbob,a.test,secret\n")
	c.write("sipway.yaml", "users_file: users.csv\nlimits: {max_message: 1MiB}\nlog: {level: debug}\nregistrar: {default_expires: 5m, min_expires: 2m}\n")
	const restart = "limits.max_message has changed and needs a restart\n"
	l.expect(exitOK, "registrar.min_expires is in force\nlog.level is in force\n"+restart, "", "reload")
	if out := l.expect(exitOK, "", "", "reload"); out != restart { // it is told until there is one
		t.Errorf("%s", out)
	}
	expires("423 ")
	dial(t, "tcp", l.tcp, "nobody").conn.Close()
	l.await(t, "level=DEBUG.*flow closed")
	l.expect(exitOK, "bob@a.test", "", "user", "list")

	// The same by signal. The connection is still the first one.
	c.write("sipway.yaml", base)
	l.hangups <- syscall.SIGHUP
	l.await(t, `configuration reloaded.*applied="?\[registrar.min_expires log.level\]`)
	expires("expires=60")
	if err := os.Remove("sipway.yaml"); err != nil {
		t.Fatal(err)
	}
	l.expect(exitUsage, "no such file", "", "reload")
	expires("expires=60")
}

// Every key that is said to be reloadable is there.
func TestReloadableKeys(t *testing.T) {
	reference := config.Reference()
	for _, key := range reloadable {
		if !strings.Contains(reference, "| `"+key) {
			t.Errorf("there is no key %s", key)
		}
	}
}
