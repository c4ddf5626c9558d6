package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/store"
)

func user(name string) store.User {
	return store.User{Name: name, Domain: "example.test", HA1: store.HA1{MD5: "md5 of " + name, SHA256: "sha of " + name, SHA512256: "sha512 of " + name}}
}

func wantUser(t *testing.T, s store.Store, want store.User) {
	t.Helper()
	if got, err := s.User(t.Context(), want.Name, want.Domain); got != want || err != nil {
		t.Errorf("User(%s) = %+v, %v, want %+v", want.ID(), got, err, want)
	}
	if got, exists, ok := s.CachedUser(want.Name, want.Domain); ok && (!exists || got != want) {
		t.Errorf("CachedUser(%s) = %+v, %t, want %+v", want.ID(), got, exists, want)
	}
}

func wantNoUser(t *testing.T, s store.Store, name, domain string) {
	t.Helper()
	_, err := s.User(t.Context(), name, domain)
	wantErr(t, "User "+name+"@"+domain, err, store.ErrNotFound)
	if _, exists, ok := s.CachedUser(name, domain); ok && exists {
		t.Errorf("CachedUser(%s@%s) exists", name, domain)
	}
}

func wantExists(t *testing.T, what string, err error, name string) {
	t.Helper()
	wantErr(t, what, err, store.ErrExists)
	if err != nil && !strings.Contains(err.Error(), name+"@example.test") {
		t.Errorf("%s: error %q does not name %s", what, err, name)
	}
}

func testUsers(t *testing.T, s store.Store) {
	put := func(mode store.PutMode, users ...store.User) error { return s.PutUsers(t.Context(), users, mode) }

	wantNoUser(t, s, "alice", "example.test")
	wantErr(t, "add", put(store.Add, user("alice"), user("bob")), nil)
	wantUser(t, s, user("alice"))
	wantUser(t, s, user("bob"))
	wantNoUser(t, s, "alice", "other.test")
	wantNoUser(t, s, "Alice", "example.test")
	wantNoUser(t, s, "", "")

	wantExists(t, "add twice", put(store.Add, user("carol"), user("bob"), user("dave")), "bob")
	wantNoUser(t, s, "carol", "example.test")
	wantNoUser(t, s, "dave", "example.test")
	wantExists(t, "twice in one", put(store.Add, user("carol"), user("carol")), "carol")
	wantNoUser(t, s, "carol", "example.test")

	changed := user("bob")
	changed.HA1 = store.HA1{SHA256: "only this"}
	wantErr(t, "upsert", put(store.Upsert, changed, user("carol")), nil)
	wantUser(t, s, changed)
	wantUser(t, s, user("carol"))
	wantErr(t, "upsert of two", put(store.Upsert, user("bob"), changed), nil)
	wantUser(t, s, changed)
	wantErr(t, "put of none", put(store.Add), nil)

	wantErr(t, "delete", s.DeleteUser(t.Context(), "bob", "example.test"), nil)
	wantNoUser(t, s, "bob", "example.test")
	wantErr(t, "delete again", s.DeleteUser(t.Context(), "bob", "example.test"), store.ErrNotFound)
	wantErr(t, "add again", put(store.Add, user("bob")), nil)
	wantUser(t, s, user("bob"))
}

func testListUsers(t *testing.T, s store.Store) {
	var want []store.UserID
	var users []store.User
	for i := range 1200 {
		u := user(fmt.Sprintf("u%d", i*7%1200))
		u.Domain = fmt.Sprintf("d%d.test", i%3)
		want = append(want, u.ID())
		users = append(users, u)
	}
	wantErr(t, "PutUsers", s.PutUsers(t.Context(), users, store.Add), nil)
	slices.SortFunc(want, store.UserID.Compare)
	for _, limit := range []int{1, 7, 1000, 5000} {
		var got []store.UserID
		var after store.UserID
		for {
			page, err := s.ListUsers(t.Context(), after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for i := range page {
				got = append(got, page[i].ID())
			}
			if len(page) < limit {
				break
			}
			after = got[len(got)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %d users, want %d in order", limit, len(got), len(want))
		}
	}
	page, err := s.ListUsers(t.Context(), store.UserID{Domain: "d1.test"}, 1)
	if err != nil || len(page) != 1 || page[0].Domain != "d1.test" {
		t.Errorf("ListUsers from the start of a domain: %v, %v", page, err)
	}
}

// sequence yields users u0 to u(n-1), then err if it is not nil.
func sequence(n int, err error) iter.Seq2[store.User, error] {
	return func(yield func(store.User, error) bool) {
		for i := range n {
			if !yield(user(fmt.Sprint("u", i)), nil) {
				return
			}
		}
		if err != nil {
			yield(store.User{}, err)
		}
	}
}

func testImport(t *testing.T, s store.Store) {
	const n = 2*store.ImportStep + 1
	wantNoUser(t, s, "u7", "example.test") // remembered as absent
	var reports []int
	got, err := s.ImportUsers(t.Context(), sequence(n, nil), store.Add, func(read int) { reports = append(reports, read) })
	if got != n || err != nil {
		t.Fatalf("ImportUsers = %d, %v, want %d", got, err, n)
	}
	if want := []int{store.ImportStep, 2 * store.ImportStep}; !slices.Equal(reports, want) {
		t.Errorf("progress %v, want %v", reports, want)
	}
	wantUser(t, s, user("u7"))
	wantUser(t, s, user(fmt.Sprint("u", n-1)))

	changed := user("u1")
	changed.HA1.MD5 = "new"
	twice := func(yield func(store.User, error) bool) {
		_ = yield(user("u1"), nil) && yield(user("x"), nil) && yield(changed, nil)
	}
	if _, err := s.ImportUsers(t.Context(), twice, store.Upsert, nil); err != nil {
		t.Fatal(err)
	}
	wantUser(t, s, changed)
	wantUser(t, s, user("x"))
	if got, err := s.ImportUsers(t.Context(), sequence(0, nil), store.Add, nil); got != 0 || err != nil {
		t.Errorf("import of none = %d, %v", got, err)
	}
	users, err := s.ListUsers(t.Context(), store.UserID{}, n+10)
	if len(users) != n+1 || err != nil {
		t.Errorf("%d users, %v, want %d", len(users), err, n+1)
	}
}

// testImportRefused: an import that fails leaves nothing behind.
func testImportRefused(t *testing.T, s store.Store) {
	wantErr(t, "PutUsers", s.PutUsers(t.Context(), []store.User{user("u5")}, store.Add), nil)
	old := user("u5")

	_, err := s.ImportUsers(t.Context(), sequence(10, nil), store.Add, nil)
	wantExists(t, "an existing user", err, "u5")

	twice := func(yield func(store.User, error) bool) {
		_ = yield(user("u0"), nil) && yield(user("u1"), nil) && yield(user("u0"), nil)
	}
	_, err = s.ImportUsers(t.Context(), twice, store.Add, nil)
	wantExists(t, "a user that comes twice", err, "u0")

	broken := errors.New("line 4 is broken")
	_, err = s.ImportUsers(t.Context(), sequence(3, broken), store.Upsert, nil)
	wantErr(t, "a broken sequence", err, broken)

	users, err := s.ListUsers(t.Context(), store.UserID{}, 100)
	if !slices.Equal(users, []store.User{old}) || err != nil {
		t.Errorf("left behind: %v, %v", users, err)
	}
}

func testSecret(t *testing.T, s store.Store) {
	secret := func(name string) []byte {
		t.Helper()
		b, err := s.Secret(t.Context(), name)
		if err != nil || len(b) != store.SecretSize {
			t.Fatalf("Secret(%s): %d bytes, %v", name, len(b), err)
		}
		return b
	}
	first := secret("nonce")
	kept := bytes.Clone(first)
	clear(first) // the slice is the caller's
	if !bytes.Equal(secret("nonce"), kept) {
		t.Error("a secret is not the same twice")
	}
	if bytes.Equal(secret("flow token"), kept) {
		t.Error("two secrets are the same")
	}
}
