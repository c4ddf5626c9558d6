package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// testListFilters: a page and the count have what meets all conditions, and nothing else.
func testListFilters(t *testing.T, s store.Store) {
	for i, f := range []struct {
		aor, agent string
		transport  sip.Transport
		node       string
		remote     string
		expires    time.Duration
	}{
		{"a@x", "JsSIP 3.13", sip.WSS, "n1", "192.0.2.7:4000", time.Minute},
		{"b@x", "SIP.js/0.21", sip.WS, "n1", "192.0.2.70:4000", 2 * time.Minute},
		{"c@x", "baresip \xff100%_done", sip.UDP, "n2", "[2001:db8::7]:5060", 3 * time.Minute},
		{"d@y", "", sip.TCP, "", "", 4 * time.Minute},
		{"e@y", "jssip", sip.WSS, "n2", "198.51.100.1:9", -time.Minute},
	} {
		b := contact("k")
		b.UserAgent, b.Node, b.Expires = f.agent, f.node, t0.Add(10*time.Minute+f.expires)
		b.Flow = sip.Flow{Transport: f.transport, ID: uint64(i)}
		if f.remote != "" {
			b.Flow.Remote = netip.MustParseAddrPort(f.remote)
		}
		register(t, s, update(f.aor, "A", 1, b))
	}
	now := t0.Add(9 * time.Minute) // the last one has just expired
	tests := []struct {
		name string
		q    store.Query
		want string
	}{
		{"none", store.Query{}, "a@x b@x c@x d@y"},
		{"agent", store.Query{UserAgent: "JSSIP"}, "a@x"},
		{"agent, part", store.Query{UserAgent: "sip"}, "a@x b@x c@x"},
		{"agent, no wildcards", store.Query{UserAgent: "100%_d"}, "c@x"},
		{"agent, no wildcard", store.Query{UserAgent: "s_p"}, ""},
		{"transport", store.Query{Transport: sip.WSS}, "a@x"},
		{"node", store.Query{Node: "n1"}, "a@x b@x"},
		{"source address", store.Query{Source: netip.MustParsePrefix("192.0.2.7/32")}, "a@x"},
		{"source prefix", store.Query{Source: netip.MustParsePrefix("192.0.2.0/24")}, "a@x b@x"},
		{"source IPv6", store.Query{Source: netip.MustParsePrefix("2001:db8::/32")}, "c@x"},
		{"expiring", store.Query{ExpiresBefore: t0.Add(12 * time.Minute)}, "a@x"},
		{"several", store.Query{UserAgent: "sip", Node: "n1", Pattern: "b*", Transport: sip.WS}, "b@x"},
		{"several, none", store.Query{UserAgent: "baresip", Node: "n1"}, ""},
		{"page", store.Query{Limit: 2, Source: netip.MustParsePrefix("0.0.0.0/0")}, "a@x b@x"},
		{"by expiry, source", store.Query{Sort: store.ByExpires, Source: netip.MustParsePrefix("192.0.2.0/24")}, "a@x b@x"},
		{"latest first", store.Query{Sort: store.ByUpdated, Transport: sip.UDP}, "c@x"},
	}
	for _, tt := range tests {
		tt.q.Now = now
		page, err := s.List(t.Context(), tt.q)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		got := ""
		for i := range page {
			got += page[i].AOR + " "
		}
		if want := tt.want + " "; got != want && got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if n, err := s.Count(t.Context(), tt.q); n != len(page) && tt.q.Limit == 0 || err != nil {
			t.Errorf("%s: Count = %d, %v, want %d", tt.name, n, err, len(page))
		}
	}
}

// testListSorted pages through bindings that share their times in every order.
func testListSorted(t *testing.T, s store.Store) {
	const n = 60
	for i := range n {
		b := contact(fmt.Sprint("k", i%2))
		u := update(fmt.Sprintf("u%02d@x", i*7%n/2), fmt.Sprint(i), 1, b)
		u.Now = t0.Add(time.Duration(i%5) * time.Second)
		u.Bindings[0].Expires = t0.Add(time.Hour + time.Duration(i%7)*time.Second)
		register(t, s, u)
	}
	for _, sort := range []store.Sort{store.ByAOR, store.ByExpires, store.ByUpdated} {
		for _, limit := range []int{1, 4, 1000} {
			q := store.Query{Sort: sort, Limit: limit, Now: t0.Add(10 * time.Second)}
			var all []store.Cursor
			for {
				page, err := s.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for i := range page {
					all = append(all, sort.Cursor(&page[i]))
				}
				if len(page) < limit {
					break
				}
				q.After = all[len(all)-1]
			}
			want, err := s.Count(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != want || len(slices.Compact(slices.Clone(all))) != want || !slices.IsSortedFunc(all, sort.Compare) {
				t.Errorf("sort %d, pages of %d: %d bindings, sorted %t, want %d", sort, limit, len(all), slices.IsSortedFunc(all, sort.Compare), want)
			}
		}
	}
}
