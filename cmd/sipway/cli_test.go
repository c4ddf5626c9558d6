package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/dsn"
)

// cli runs a command line in a directory of its own, where the default store is.
type cli struct {
	t   *testing.T
	env map[string]string
}

func newCLI(t *testing.T) *cli {
	t.Helper()
	t.Chdir(t.TempDir())
	// No other server of this machine is meant.
	return &cli{t: t, env: map[string]string{"SIPWAY_ADMIN": "unix:admin.sock"}}
}

func (c *cli) lookup(name string) (string, bool) { v, ok := c.env[name]; return v, ok }

// run returns the exit code and what was printed.
func (c *cli) run(stdin string, args ...string) (code int, out, err string) {
	var stdout, stderr bytes.Buffer
	a := &app{in: strings.NewReader(stdin), out: &stdout, err: &stderr, env: c.lookup}
	code = a.run(c.t.Context(), args)
	return code, stdout.String(), stderr.String()
}

// expect runs a command line and checks its exit code and a part of what it prints, on standard
// output if it succeeds and else on standard error.
func (c *cli) expect(code int, part, stdin string, args ...string) string {
	c.t.Helper()
	got, out, err := c.run(stdin, args...)
	text := out
	if code != exitOK {
		text = err
	}
	if got != code || !strings.Contains(text, part) {
		c.t.Errorf("sipway %s: exit code %d, want %d with %q\n%s%s", strings.Join(args, " "), got, code, part, out, err)
	}
	return out
}

func (c *cli) write(name, text string) string {
	c.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return name
}

// open opens the default store.
func (c *cli) open() store.Store {
	c.t.Helper()
	st, err := dsn.Open(c.t.Context(), "sqlite:sipway.db", dsn.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	return st
}

func TestUsers(t *testing.T) {
	c := newCLI(t)
	c.expect(exitUnavailable, "there is no store at sipway.db", "", "user", "list")
	c.expect(exitOK, "alice@localhost added", "secret\n", "user", "add", "alice@localhost")
	c.expect(exitExists, "exists already", "other\n", "user", "add", "alice")
	c.expect(exitOK, "bob@example.test added", "secret", "user", "add", "bob@Example.Test", "--password-stdin")
	c.expect(exitOK, "bob@example.test", "", "user", "list")
	c.expect(exitOK, `{"user":"alice@localhost","name":"alice","domain":"localhost","algorithms":["SHA-512-256","SHA-256","MD5"]}`+"\n", "", "user", "show", "alice", "--json")
	c.expect(exitOK, "password of alice@localhost changed", "new\r\n", "user", "passwd", "alice")
	c.expect(exitNotFound, "there is no user carol@localhost", "x\n", "user", "passwd", "carol")
	c.expect(exitNotFound, "there is no user carol@localhost", "", "user", "rm", "carol")
	c.expect(exitOK, "bob@example.test removed", "", "user", "rm", "bob@example.test")
	c.expect(exitNotFound, "", "", "user", "show", "bob@example.test")

	st := c.open()
	defer st.Close()
	u, err := st.User(t.Context(), "alice", "localhost")
	if err != nil || u.HA1.MD5 != digest.HA1(digest.MD5, "alice", "localhost", "new") || u.HA1.SHA256 != digest.HA1(digest.SHA256, "alice", "localhost", "new") ||
		u.HA1.SHA512256 != digest.HA1(digest.SHA512256, "alice", "localhost", "new") {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestUserNames(t *testing.T) {
	c := newCLI(t)
	for name, want := range map[string]string{
		"@localhost":      "without a name",
		"alice@":          "without a domain",
		"a:b@localhost":   "colon",
		"a\x1bb@x.test":   "control characters",
		"alice@not valid": "is not a domain",
	} {
		c.expect(exitUsage, want, "x\n", "user", "add", name)
	}
	c.expect(exitUsage, "empty password", "\n", "user", "add", "alice@localhost")
	c.env["SIPWAY_DOMAINS"] = "a.test,b.test"
	c.expect(exitUsage, "expects NAME@DOMAIN", "x\n", "user", "add", "alice")
	c.expect(exitOK, "a@b@a.test added", "x\n", "user", "add", "a@b@a.test")
	c.expect(exitUsage, "known to the running server only", "x\n", "user", "add", "a@a.test", "--store", "memory:")
	c.expect(exitFailure, "unknown scheme", "x\n", "user", "add", "a@a.test", "--store", "mysql:x")
}

func TestUsage(t *testing.T) {
	c := newCLI(t)
	c.expect(exitOK, "Exit codes", "")
	c.expect(exitOK, "passwd", "", "user")
	c.expect(exitUsage, "did you mean list?", "", "user", "lits")
	c.expect(exitUsage, "did you mean serve?", "", "server")
	c.expect(exitUsage, "unknown command", "", "frobnicate")
	c.expect(exitUsage, "accepts 1 arg(s)", "", "user", "show")
	c.expect(exitUsage, "unknown flag", "", "version", "--nonsense")
	c.expect(exitOK, "sipway ", "", "version")
	var v versionInfo
	if err := json.Unmarshal([]byte(c.expect(exitOK, "", "", "version", "--json")), &v); err != nil || v.Version == "" || v.Go == "" {
		t.Errorf("%+v, %v", v, err)
	}
	c.expect(exitOK, "bash", "", "completion", "bash")
}

func TestUserListPages(t *testing.T) {
	c := newCLI(t)
	var lines strings.Builder
	const n = 2*page + 500
	for i := range n {
		fmt.Fprintf(&lines, "u%05d,localhost,x\n", i)
	}
	c.expect(exitOK, fmt.Sprintf("%d users imported", n), lines.String(), "user", "import", "-")
	if out := c.expect(exitOK, "", "", "user", "list"); strings.Count(out, "\n") != n+1 {
		t.Errorf("%d lines", strings.Count(out, "\n"))
	}
	code, out, hint := c.run("", "user", "list", "--limit", "3", "--after", "u00001", "--json")
	if code != exitOK || strings.Count(out, "\n") != 3 || !strings.HasPrefix(out, `{"user":"u00002@localhost"`) || !strings.Contains(hint, "--after 'u00004@localhost'") {
		t.Errorf("%d\n%s%s", code, out, hint)
	}
	// A limit that is just the number of what is left.
	_, out, hint = c.run("", "user", "list", "--limit", "2", "--after", fmt.Sprintf("u%05d", n-3), "--json")
	if strings.Count(out, "\n") != 2 || hint != "" {
		t.Errorf("%s%s", out, hint)
	}
	_, _, note := c.run("", "user", "list", "--after", "zz")
	if note != "no users\n" {
		t.Errorf("%q", note)
	}
}

func TestImport(t *testing.T) {
	c := newCLI(t)
	file := c.write("users.csv", "\ufeffUser,Domain,Password\n# the desk\nalice , example.test,\"a,\"\"b\"\n\nbob,EXAMPLE.test, c \n")
	c.expect(exitOK, "2 users imported", "", "user", "import", file)
	st := c.open()
	for name, password := range map[string]string{"alice": `a,"b`, "bob": " c "} {
		u, err := st.User(t.Context(), name, "example.test")
		if err != nil || u.HA1.MD5 != digest.HA1(digest.MD5, name, "example.test", password) {
			t.Errorf("%+v, %v", u, err)
		}
	}
	st.Close()

	c.expect(exitExists, "alice@example.test", "carol,example.test,x\nalice,example.test,x\n", "user", "import", "-")
	c.expect(exitNotFound, "", "", "user", "show", "carol@example.test")
	c.expect(exitOK, "2 users imported", "carol,example.test,x\nalice,example.test,x\n", "user", "import", "--replace", "-")
}

// An error names the line; nothing is imported and no password is printed.
func TestImportErrors(t *testing.T) {
	c := newCLI(t)
	for text, want := range map[string]string{
		"ok,a.test,x\n\n# c\nbob,a.test\n":       "users.csv:4: expects user,domain,password, not 2 fields",
		"ok,a.test,x\nbob,a.test,secret,x\n":     "users.csv:2: expects user,domain,password, not 4 fields",
		"ok,a.test,x\n,a.test,secret\n":          "users.csv:2: user without a name",
		"ok,a.test,x\nbob,,secret\n":             "users.csv:2: user without a domain",
		"ok,a.test,x\nbob,a.test,\n":             "users.csv:2: empty password",
		"ok,a.test,x\nbob,a.test,\"secret\n":     "users.csv:2: column",
		"ok,a.test,x\nbob,a.test,\"sec\"ret\"\n": "users.csv:2: column",
		"ok,a.test,x\nuser,domain,\n":            "users.csv:2: empty password",
	} {
		file := c.write("users.csv", text)
		code, _, err := c.run("", "user", "import", file)
		if code == exitOK || !strings.Contains(err, want) || !strings.Contains(err, "nothing imported") || strings.Contains(err, "secret") {
			t.Errorf("%q: %d %s", text, code, err)
		}
		c.expect(exitNotFound, "", "", "user", "show", "ok@a.test")
	}
	c.expect(exitUsage, "no such file", "", "user", "import", "none.csv")
}

// register puts bindings into the default store.
func (c *cli) register(aor string, n int, now time.Time) {
	c.t.Helper()
	st := c.open()
	defer st.Close()
	var u store.Update
	u.AOR, u.Now, u.CallID, u.CSeq, u.MaxContacts = aor, now, "call-"+aor, 7, 100
	for i := range n {
		u.Bindings = append(u.Bindings, store.Binding{
			AOR: aor, Key: fmt.Sprintf("key%d", i), Contact: fmt.Sprintf("sip:c%d@192.0.2.1;x=<a&b>", i), Q: 500,
			CallID: u.CallID, CSeq: u.CSeq, UserAgent: "Desk\x1b[31m phone",
			Flow: sip.Flow{
				Transport: sip.UDP, Local: netip.MustParseAddrPort("192.0.2.9:5060"), Remote: netip.MustParseAddrPort("192.0.2.1:5062"),
			},
			Created: now, Updated: now, Expires: now.Add(time.Hour),
		})
	}
	if _, err := st.Register(c.t.Context(), u); err != nil {
		c.t.Fatal(err)
	}
}

func TestRegistrations(t *testing.T) {
	c := newCLI(t)
	now := time.Now()
	c.register("alice@localhost", 3, now)
	c.register("bob@localhost", 1, now)
	c.register("carol@example.test", 1, now)

	out := c.expect(exitOK, "ADDRESS", "", "reg", "list")
	if strings.Count(out, "\n") != 6 || strings.Contains(out, "\x1b") || !strings.Contains(out, "udp 192.0.2.1:5062") || !strings.Contains(out, "in 59m5") {
		t.Errorf("\n%s", out)
	}
	header, first, _ := strings.Cut(out, "\n")
	if strings.Index(header, "CONTACT") != strings.Index(first, "sip:c0@") {
		t.Errorf("columns are not aligned\n%s", out)
	}

	var b admin.Registration
	lines := strings.Split(c.expect(exitOK, "", "", "reg", "list", "--json", "--aor", "*@example.test"), "\n")
	if err := json.Unmarshal([]byte(lines[0]), &b); err != nil || len(lines) != 2 {
		t.Fatalf("%q, %v", lines, err)
	}
	if b.AOR != "carol@example.test" || b.Transport != "udp" || b.Remote != "192.0.2.1:5062" || b.Q != 0.5 || b.CSeq != 7 || b.ExpiresIn < 3590 || b.Contact != "sip:c0@192.0.2.1;x=<a&b>" {
		t.Errorf("%+v", b)
	}

	// A list with a limit can be gone through, from the middle of an address too.
	var seen []string
	for after := ""; ; {
		code, out, hint := c.run("", "reg", "list", "--json", "--limit", "2", "--after", after)
		if code != exitOK {
			t.Fatal(hint)
		}
		for line := range strings.Lines(out) {
			if err := json.Unmarshal([]byte(line), &b); err != nil {
				t.Fatal(err)
			}
			seen = append(seen, b.AOR+" "+b.Key)
		}
		if hint == "" {
			break
		}
		_, after, _ = strings.Cut(strings.TrimSuffix(hint, "'\n"), "'")
	}
	want := []string{"alice@localhost key0", "alice@localhost key1", "alice@localhost key2", "bob@localhost key0", "carol@example.test key0"}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
	if out := c.expect(exitOK, "bob@", "", "reg", "list", "--after", "alice@localhost", "--limit", "1"); strings.Contains(out, "alice") {
		t.Error(out)
	}

	out = c.expect(exitOK, "sip:c2@192.0.2.1", "", "reg", "show", "alice")
	if strings.Count(out, "user agent") != 3 || !strings.Contains(out, "call-alice@localhost, CSeq 7") || strings.Contains(out, "\x1b") {
		t.Error(out)
	}
	if out := c.expect(exitOK, "", "", "reg", "show", "alice", "--json"); strings.Count(out, "\n") != 3 {
		t.Error(out)
	}
	c.expect(exitNotFound, "dave@localhost is not registered", "", "reg", "show", "dave")
	if _, _, note := c.run("", "reg", "list", "--aor", "nobody*"); note != "no registrations\n" {
		t.Errorf("%q", note)
	}
}

func TestConfigCommands(t *testing.T) {
	c := newCLI(t)
	good := c.write("good.yaml", "domains: [a.test]\nauth: {mode: none}\n")
	bad := c.write("bad.yaml", "domans: [a.test]\n")
	c.expect(exitOK, "good.yaml: OK", "", "config", "check", good)
	if _, _, warning := c.run("", "config", "check", good); !strings.Contains(warning, "warning: auth.mode is none") {
		t.Errorf("%q", warning)
	}
	c.expect(exitUsage, "bad.yaml:1: domans: unknown key, did you mean domains?", "", "config", "check", bad)
	c.expect(exitUsage, "needs admin_token", "", "config", "check", c.write("admin.yaml", "admin: 0.0.0.0:8081\n"))
	c.expect(exitOK, "domains:\n  - a.test\n", "", "config", "show", "--config", good)
	c.env["SIPWAY_CONFIG"] = good
	c.expect(exitOK, `"domains":["a.test"]`, "", "config", "show", "--json")
	c.expect(exitOK, "store: memory:x", "", "config", "show", "--store", "memory:x")
	c.expect(exitOK, "| `registrar.max_contacts` | `20` |", "", "config", "reference")

	shown := c.write("shown.yaml", c.expect(exitOK, "", "", "config", "show"))
	c.expect(exitOK, "OK", "", "config", "check", shown)
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 90 * time.Second: "1m30s", time.Hour + 61*time.Second: "1h01m", 49 * time.Hour: "2d01h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
}

// The store is looked for where the flag says, else where the file says.
func TestStoreFlag(t *testing.T) {
	c := newCLI(t)
	path := filepath.Join(t.TempDir(), "other.db")
	c.expect(exitOK, "added", "x\n", "user", "add", "alice", "--store", "sqlite:"+path)
	file := c.write("sipway.yaml", fmt.Sprintf("store: %q\n", "sqlite:"+path))
	c.expect(exitOK, "alice@localhost", "", "user", "list", "-c", file)
	c.expect(exitUsage, "none.yaml", "", "user", "list", "-c", "none.yaml")
}
