package postgres_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sipway/sipway/store"
	"github.com/sipway/sipway/store/postgres"
	"github.com/sipway/sipway/store/postgres/pgtest"
)

// TestRegisterLater: each update that was accepted is told of once, Close or not, and those that
// were told of as done are there when the database is opened anew.
func TestRegisterLater(t *testing.T) {
	dsn := pgtest.Database(t)
	s := openStore(t, dsn, postgres.Config{})
	now := time.Now()
	var mu sync.Mutex
	told, accepted := make(map[string]error), 0
	for round := range 3 {
		for i := range 200 {
			aor := fmt.Sprintf("user%d@example.test", i)
			u := store.Update{AOR: aor, Now: now, CallID: "c", CSeq: uint32(round + 1), Bindings: []store.Binding{
				{Key: "sip:" + aor, Contact: "sip:" + aor, Expires: now.Add(time.Hour)},
			}}
			ok := s.RegisterLater(u, func(r store.Result, err error) {
				mu.Lock()
				defer mu.Unlock()
				at := fmt.Sprint(round, i)
				if _, twice := told[at]; twice || err == nil && (len(r.Bindings) != 1 || r.Bindings[0].CSeq != u.CSeq) {
					t.Errorf("%s: told twice %t, of %v", at, twice, r.Bindings)
				}
				told[at] = err
			})
			if ok {
				accepted++
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.RegisterLater(store.Update{AOR: "a@b", RemoveAll: true}, nil) {
		t.Error("accepted after Close")
	}
	if len(told) != accepted || accepted < 200 {
		t.Errorf("%d accepted, told of %d", accepted, len(told))
	}
	again := openStore(t, dsn, postgres.Config{})
	defer again.Close()
	for i := range 200 {
		last := 0
		for round := range 3 {
			if err, ok := told[fmt.Sprint(round, i)]; ok && err == nil {
				last = round + 1
			}
		}
		set, err := again.Lookup(t.Context(), fmt.Sprintf("user%d@example.test", i), now)
		if err != nil || last > 0 && (len(set) != 1 || int(set[0].CSeq) != last) || last == 0 && len(set) > 0 {
			t.Fatalf("user %d: %v, %v, told of %d", i, set, err, last)
		}
	}
}
