package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sipway/sipway/admin"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with the file of that name in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// examples are registrations as a server knows them.
func examples(now time.Time) []admin.Registration {
	return []admin.Registration{
		{
			AOR: "alice@example.test", Key: "<urn:uuid:0f7c>1", Contact: "sip:x1y2z3@q9w8e7.invalid;transport=ws", Q: 1,
			Params: ";+sip.instance=\"<urn:uuid:0f7c>\";reg-id=1", Instance: "<urn:uuid:0f7c>", RegID: 1, UserAgent: "JsSIP 3.10.1", CallID: "k3v9", CSeq: 82,
			Transport: "ws", Remote: "198.51.100.7:50112", Local: "192.0.2.9:8080", Flow: 1732592000000017, Node: "sip1",
			Created: now.Add(-26 * time.Hour), Updated: now.Add(-3 * time.Minute), Expires: now.Add(417 * time.Second), ExpiresIn: 417,
			State: &admin.State{Reachable: true, Opened: now.Add(-26 * time.Hour), LastHeard: now.Add(-12 * time.Second), RTT: 23.418},
		},
		{
			AOR: "alice@example.test", Key: "sip:alice@192.0.2.55", Contact: "sip:alice@192.0.2.55:5062", Q: 0.5, Methods: "INVITE, ACK, BYE",
			Path: "<sip:edge.example.test;lr>", UserAgent: "Desk\x1b[31m phone", CallID: "a84b@192.0.2.55", CSeq: 1,
			Transport: "udp", Remote: "192.0.2.55:5062", Local: "192.0.2.9:5060", Node: "sip1",
			Created: now.Add(-40 * time.Second), Updated: now.Add(-40 * time.Second), Expires: now.Add(time.Hour), ExpiresIn: 3600,
			State: &admin.State{Reachable: true},
		},
		{
			AOR: "bob@example.test", Key: "sip:bob@203.0.113.4", Contact: "sip:bob@203.0.113.4:40222;transport=tcp", Q: 1, CallID: "7", CSeq: 9,
			Transport: "tcp", Remote: "203.0.113.4:40222", Local: "192.0.2.9:5060", Flow: 1732592000000042, Node: "sip1",
			Created: now.Add(-9 * 24 * time.Hour), Updated: now.Add(-time.Hour), Expires: now.Add(5 * time.Second), ExpiresIn: 5,
			State: &admin.State{},
		},
	}
}

// What people and scripts read.
func TestGolden(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name   string
		asJSON bool
		show   bool
	}{
		{"reg-list", false, false},
		{"reg-list-json", true, false},
		{"reg-show", false, true},
	} {
		var out bytes.Buffer
		a := &app{out: &out, err: &out, env: func(string) (string, bool) { return "", false }}
		p := a.registrationPrinter(tc.asJSON, now)
		if tc.show {
			p.print = func(r *admin.Registration) error { return a.showRegistration(r, tc.asJSON, now) }
			p.end = func() error { return nil }
		}
		if err := p.all(examples(now)); err != nil {
			t.Fatal(err)
		}
		golden(t, tc.name, out.Bytes())
	}
}
