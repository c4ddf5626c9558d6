package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/memory"
)

// fixture is a server on a memory store, and a client of it.
type fixture struct {
	*Client
	store store.Store
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	st := memory.New()
	path := filepath.Join(t.TempDir(), "admin.sock")
	s, err := New(Config{Addr: "unix:" + path, Registrations: Offline{Store: st}, Users: st})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{NewClient("unix:"+path, Access{}), st}
	t.Cleanup(func() {
		f.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return f
}

// register binds n contacts to an AOR.
func (f *fixture) register(t testing.TB, aor string, n int) {
	t.Helper()
	now := time.Now()
	u := store.Update{AOR: aor, Now: now, CallID: "c", CSeq: 1}
	for i := range n {
		u.Bindings = append(u.Bindings, store.Binding{
			Key: fmt.Sprintf("k%d", i), Contact: fmt.Sprintf("sip:c%d@192.0.2.1;x=<a&b>", i), Q: 500, UserAgent: "phone",
			Flow:    sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5062"), Local: netip.MustParseAddrPort("192.0.2.9:5060")},
			Expires: now.Add(time.Hour),
		})
	}
	if _, err := f.store.Register(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

func TestRegistrations(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.register(t, "alice@a.test", 2)
	f.register(t, "b/o?b% 2@a.test", 1)
	f.register(t, "carol@b.test", 1)

	page, err := f.List(ctx, Query{Limit: 3})
	if err != nil || len(page.Registrations) != 3 || page.Next != "b/o?b%25%202@a.test k0" {
		t.Fatalf("%+v, %v", page, err)
	}
	if r := page.Registrations[1]; r.Contact != "sip:c1@192.0.2.1;x=<a&b>" || r.Transport != "udp" || r.Q != 0.5 || r.ExpiresIn < 3590 || r.State != nil {
		t.Errorf("%+v", r)
	}
	page, err = f.List(ctx, Query{Limit: 3, After: page.Next})
	if err != nil || len(page.Registrations) != 1 || page.Registrations[0].AOR != "carol@b.test" || page.Next != "" {
		t.Errorf("%+v, %v", page, err)
	}
	for pattern, want := range map[string]int{"": 4, "*@a.test": 3, "carol*": 1, "nobody": 0} {
		if n, err := f.Count(ctx, Query{AOR: pattern, Limit: 1}); err != nil || n != want {
			t.Errorf("%q: %d, %v", pattern, n, err)
		}
	}
	list, err := f.Show(ctx, "b/o?b% 2@a.test")
	if err != nil || len(list) != 1 || list[0].Key != "k0" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := f.Show(ctx, "dave@a.test"); !errors.Is(err, store.ErrNotFound) || err.Error() != "dave@a.test is not registered" {
		t.Error(err)
	}
}

// Every filter reaches the store, and a list can be gone through in every order.
func TestFilters(t *testing.T) {
	f := newFixture(t)
	now := time.Now()
	for i, b := range []store.Binding{
		{Flow: sip.Flow{Transport: sip.WS, Remote: netip.MustParseAddrPort("198.51.100.7:1")}, UserAgent: "JsSIP 3", Node: "n1", Expires: now.Add(30 * time.Second)},
		{Flow: sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("198.51.100.8:2")}, UserAgent: "SIP.js", Node: "n1", Expires: now.Add(20 * time.Minute)},
		{Flow: sip.Flow{Transport: sip.TCP, Remote: netip.MustParseAddrPort("[2001:db8::1]:3")}, UserAgent: "Desk", Node: "n2", Expires: now.Add(10 * time.Minute)},
	} {
		b.Key, b.Contact = "k", "sip:c@192.0.2.1"
		u := store.Update{AOR: fmt.Sprintf("u%d@a.test", i), Now: now.Add(time.Duration(i) * time.Second), CallID: "c", CSeq: 1, Bindings: []store.Binding{b}}
		if _, err := f.store.Register(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		q    Query
		want string
	}{
		{Query{}, "012"},
		{Query{AOR: "u1*"}, "1"},
		{Query{UserAgent: "sip"}, "01"},
		{Query{Transport: "tcp"}, "2"},
		{Query{Node: "n1"}, "01"},
		{Query{Source: "198.51.100.8"}, "1"},
		{Query{Source: "198.51.100.9/24"}, "01"},
		{Query{Source: "2001:db8::/32"}, "2"},
		{Query{Expiring: time.Minute}, "0"},
		{Query{UserAgent: "sip", Expiring: time.Hour, Transport: "UDP"}, "1"},
		{Query{Sort: "aor"}, "012"},
		{Query{Sort: "expires"}, "021"},
		{Query{Sort: "updated"}, "210"},
	} {
		for limit := range 4 {
			q, got := tc.q, ""
			q.Limit = limit
			for page := 0; page == 0 || q.After != ""; page++ {
				p, err := f.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range p.Registrations {
					got += r.AOR[1:2]
				}
				q.After = p.Next
			}
			if got != tc.want {
				t.Errorf("%+v: %s, want %s", q, got, tc.want)
			}
		}
		if n, err := f.Count(t.Context(), tc.q); err != nil || n != len(tc.want) {
			t.Errorf("%+v: %d, %v", tc.q, n, err)
		}
	}
}

func TestRemove(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.register(t, "alice@a.test", 4)
	for _, tc := range []struct {
		contact string
		left    int
		want    string
	}{
		{"sip:nobody@192.0.2.1", 4, "alice@a.test has no contact sip:nobody@192.0.2.1"},
		{"sip:c1@192.0.2.1;x=<a&b>", 3, ""},
		{"k3", 2, ""},
		{"", 0, ""},
		{"", 0, "alice@a.test is not registered"},
	} {
		removed, err := f.Remove(ctx, "alice@a.test", tc.contact, true)
		switch {
		case tc.want != "" && (!errors.Is(err, store.ErrNotFound) || err.Error() != tc.want):
			t.Errorf("%q: %v", tc.contact, err)
		case tc.want == "" && (err != nil || len(removed) == 0 || removed[0].Kicked || tc.contact != "" && removed[0].Key != tc.contact && removed[0].Contact != tc.contact):
			t.Errorf("%q: %+v, %v", tc.contact, removed, err)
		}
		if list, err := f.store.Lookup(ctx, "alice@a.test", time.Now()); err != nil || len(list) != tc.left {
			t.Errorf("%q: %d are left, %v", tc.contact, len(list), err)
		}
	}
}

func TestUsers(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	users := Users{f.Client}
	alice := store.User{Name: "al/ice", Domain: "a.test", HA1: store.HA1{
		MD5: digest.HA1(digest.MD5, "al/ice", "a.test", "x"), SHA256: digest.HA1(digest.SHA256, "al/ice", "a.test", "x")}}
	alice.HA1.SHA512256 = digest.HA1(digest.SHA512256, "al/ice", "a.test", "x")
	if err := users.PutUsers(ctx, []store.User{alice}, store.Add); err != nil {
		t.Fatal(err)
	}
	if got, err := f.store.User(ctx, "al/ice", "a.test"); err != nil || got != alice {
		t.Errorf("%+v, %v", got, err)
	}
	if err := users.PutUsers(ctx, []store.User{alice}, store.Add); !errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
	if err := users.PutUsers(ctx, []store.User{alice}, store.Upsert); err != nil {
		t.Error(err)
	}
	if got, err := users.User(ctx, "al/ice", "a.test"); err != nil || got.ID() != alice.ID() || got.HA1 != (store.HA1{}) {
		t.Errorf("%+v, %v", got, err)
	}
	bob := alice
	bob.Name = "bob"
	if n, err := users.ImportUsers(ctx, each([]store.User{bob, bob}), store.Add, nil); n != 0 || !errors.Is(err, store.ErrExists) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := users.ImportUsers(ctx, each([]store.User{bob}), store.Add, nil); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	list, err := users.ListUsers(ctx, store.UserID{}, 1)
	if err != nil || len(list) != 1 || list[0].Name != "al/ice" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = users.ListUsers(ctx, list[0].ID(), 5); err != nil || len(list) != 1 || list[0].Name != "bob" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := users.DeleteUser(ctx, "bob", "a.test"); err != nil {
		t.Error(err)
	}
	if err := users.DeleteUser(ctx, "bob", "a.test"); !errors.Is(err, store.ErrNotFound) || err.Error() != "there is no user bob@a.test" {
		t.Error(err)
	}
}

// A sequence of users that fails is no import, and its own error is told.
func TestBrokenImport(t *testing.T) {
	f := newFixture(t)
	broken := errors.New("line 3")
	seq := func(yield func(store.User, error) bool) {
		u := store.User{Domain: "a.test", HA1: store.HA1{MD5: strings.Repeat("0", 32)}}
		for i := range 20_000 {
			u.Name = fmt.Sprint(i)
			if !yield(u, nil) {
				return
			}
		}
		yield(store.User{}, broken)
	}
	reads := 0
	if n, err := (Users{f.Client}).ImportUsers(t.Context(), seq, store.Add, func(n int) { reads = n }); n != 0 || !errors.Is(err, broken) {
		t.Errorf("%d, %v", n, err)
	}
	if reads != 20_000 {
		t.Errorf("progress ended at %d", reads)
	}
	if list, err := f.store.ListUsers(t.Context(), store.UserID{}, 1); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// What is wrong with a request is said with a status, a code and a text.
func TestBadRequests(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/registrations?limit=0", "", 400, `{"error":"limit: expects a number of 1 or more, not \"0\"","code":"bad_request"}`},
		{"GET", "/registrations/count?limit=x", "", 400, `"bad_request"`},
		{"GET", "/registrations?transport=carrier-pigeon", "", 400, `transport: expects udp, tcp, tls, ws or wss`},
		{"GET", "/registrations?source=example.test", "", 400, `source: expects an address or a prefix`},
		{"GET", "/registrations/count?expiring=soon", "", 400, `expiring: expects a duration`},
		{"GET", "/registrations?sort=size", "", 400, `sort: expects aor, expires, updated`},
		{"GET", "/registrations?sort=expires&after=alice@a.test", "", 400, `is no place in a list of this order`},
		{"DELETE", "/registrations/a@a.test?kick=yes", "", 400, `kick: expects true or false`},
		{"GET", "/registrations/a@a.test", "", 404, `{"error":"a@a.test is not registered","code":"not_found"}`},
		{"PUT", "/users/a@a.test", `{}`, 400, `expects a password, or ha1`},
		{"PUT", "/users/a@a.test", `{"ha1":{"MD5":"xyz"}}`, 400, `expects a password, or ha1`},
		{"PUT", "/users/a@a.test", `{`, 400, `body: unexpected EOF`},
		{"PUT", "/users/a@a.test?mode=x", `{}`, 400, `mode: expects add or replace`},
		{"PUT", "/users/a", `{"password":"x"}`, 400, `expects NAME@DOMAIN`},
		{"PUT", "/users/a@a.test", `{"password":"x"}`, 200, `{"user":"a@a.test","name":"a","domain":"a.test","algorithms":["SHA-512-256","SHA-256","MD5"]}`},
		{"PUT", "/users/a@a.test", `{"password":"x"}`, 409, `"code":"exists"`},
		{"POST", "/users", "{\"name\":\"b\",\"domain\":\"a.test\",\"password\":\"x\"}\n{\"name\":\"c\"}", 400, `user 2 of the import`},
		{"GET", "/users/b@a.test", "", 404, `there is no user b@a.test`},
		{"PATCH", "/users/b@a.test", "", 405, ``},
	} {
		req, err := http.NewRequest(tc.method, "http://localhost"+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := f.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tc.status || !strings.Contains(string(body), tc.want) {
			t.Errorf("%s %s: %d %s, %v", tc.method, tc.path, resp.StatusCode, body, err)
		}
	}
}

// A page in a browser on the same machine can't change anything, whatever it sends.
func TestCrossOrigin(t *testing.T) {
	st := memory.New()
	s := newServer(t, Config{Registrations: Offline{Store: st}, Users: st})
	req := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8081/users", strings.NewReader(""))
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, req)
	if w.Code != http.StatusForbidden {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	cfg := Config{Addr: "unix:" + path}
	first, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if addr, err := first.Start(t.Context()); err != nil || addr.String() != path {
		t.Fatalf("%v, %v", addr, err)
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := NewClient(cfg.Addr, Access{}).Alive(t.Context()); err != nil {
		t.Error(err)
	}
	second, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a second server: %v", err)
	}
	if err := first.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := NewClient(cfg.Addr, Access{}).Alive(t.Context()); !errors.Is(err, ErrNoServer) {
		t.Errorf("after the end: %v", err)
	}

	// What a server that crashed has left is in nobody's way, a file of somebody else is.
	stale, err := listenSocket(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*socket).Listener.Close()
	if _, err := second.Start(t.Context()); err != nil {
		t.Errorf("over a stale socket: %v", err)
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(t.Context(), path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("over a file: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}
