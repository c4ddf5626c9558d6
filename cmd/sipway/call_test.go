package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/dialog"
)

const audio = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 5004 RTP/AVP %s\r\na=rtpmap:111 opus/48000/2\r\n"

// call makes a call that is answered, and returns what the caller needs to go on with it.
func call(t *testing.T, from, to *phone) (routes, toTag string) {
	t.Helper()
	from.send("INVITE", "sip:"+to.user+"@a.test", "<sip:"+to.user+"@a.test>",
		"Contact: <"+from.contact()+">\r\nContent-Type: application/sdp\r\n", fmt.Sprintf(audio, "0 111"))
	invite := to.receive()
	to.answer(invite, 180, "")
	from.receive()
	ok := sip.NewResponse(invite, 200, "", to.user)
	for route := range invite.Lines(sip.HRecordRoute) {
		ok.Append(sip.HRecordRoute, route)
	}
	ok.Append(sip.HContact, "<"+to.contact()+">")
	ok.AppendNamed("User-Agent", "Soft phone")
	ok.SetBody("application/sdp", fmt.Appendf(nil, audio, "111 0"))
	if _, err := to.conn.Write(ok.Bytes()); err != nil {
		t.Fatal(err)
	}
	m := from.receive()
	if m.Status() != 200 {
		t.Fatalf("%s", m.Bytes())
	}
	list := slices.Collect(m.Values(sip.HRecordRoute))
	slices.Reverse(list)
	routes = "Route: " + strings.Join(list, ", ") + "\r\n"
	from.cseq-- // that of the INVITE
	from.send("ACK", to.contact(), "<sip:"+to.user+"@a.test>;tag="+to.user, routes, "")
	if ack := to.receive(); ack.Method() != sip.ACK {
		t.Fatalf("%s", ack.Bytes())
	}
	return routes, to.user
}

func TestCalls(t *testing.T) {
	c := newCLI(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "calls.json")
	c.env["SIPWAY_CDR_FILE"] = file
	l := c.lab()
	alice, bob := dial(t, "tcp", l.tcp, "alice"), dial(t, "udp", l.udp, "bob")
	l.expect(exitOK, "", "", "call", "list")
	alice.register(600)
	bob.register(600)
	routes, tag := call(t, alice, bob)

	out := l.expect(exitOK, "alice@a.test", "", "call", "list", "--user", "b*@a.test", "--state", "confirmed", "--transport", "udp")
	if !regexp.MustCompile(`confirmed +alice@a.test +bob@a.test +\d+s +\d+s +tcp-udp +opus`).MatchString(out) {
		t.Errorf("%s", out)
	}
	l.expect(exitOK, "1\n", "", "call", "list", "--count", "--from", "alice@*", "--to", "bob@*")
	for _, filter := range [][]string{{"--user", "carol@*"}, {"--state", "early"}, {"--transport", "ws"}, {"--longer", "1h"}, {"--from", "bob@*"}} {
		l.expect(exitOK, "0\n", "", append([]string{"call", "list", "--count"}, filter...)...)
	}
	carol := dial(t, "udp", l.udp, "carol")
	carol.send("INVITE", "sip:bob@a.test", "<sip:bob@a.test>", "Contact: <"+carol.contact()+">\r\n", "")
	invite := bob.receive()
	if _, out, err := l.run("", "call", "list", "--limit", "1"); !strings.Contains(out, "alice@a.test") || strings.Contains(out, "carol@a.test") ||
		!strings.Contains(err, "there are more: --after '") {
		t.Errorf("%s%s", out, err)
	} else {
		place := strings.Split(err, "'")[1]
		l.expect(exitOK, "carol@a.test", "", "call", "list", "--limit", "1", "--after", place)
	}
	l.expect(exitOK, "1\n", "", "call", "list", "--count", "--state", "trying")
	bob.answer(invite, 603, "")
	bob.receive() // the ACK
	carol.receive()
	l.await(t, `msg="call ended".*from=carol@a.test.*status=603`)
	l.expect(exitUsage, "state: expects trying, early, confirmed, ending, not \"talking\"", "", "call", "list", "--state", "talking")
	l.expect(exitUsage, "after: \"-\" is no place", "", "call", "list", "--after", "-")
	var live admin.Call
	if err := json.Unmarshal([]byte(l.expect(exitOK, "", "", "call", "list", "--json")), &live); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{live.ID, live.CallID} {
		text := l.expect(exitOK, "alice@a.test to bob@a.test", "", "call", "show", id)
		for _, part := range []string{
			"caller      tcp " + alice.addr, "callee      udp " + bob.addr, "user agent  Desk phone", "user agent  Soft phone", "open, heard",
			"media       audio PCMU/8000 sendrecv RTP/AVP", "codec       opus", "leg 1       " + bob.contact(), "status      200",
			"dialog      confirmed, from tag alice, to tag bob", "caller --> callee  INVITE", "caller <-- callee  180 INVITE", "caller --> callee  ACK",
		} {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not in\n%s", part, text)
			}
		}
	}
	l.expect(exitNotFound, "there is no live call xyz", "", "call", "show", "xyz")

	alice.send("BYE", bob.contact(), "<sip:bob@a.test>;tag="+tag, routes+"Reason: Q.850;cause=16\r\n", "")
	bob.answer(bob.receive(), 200, "")
	alice.receive()
	l.await(t, `msg="call ended" id=`+live.ID+` call_id=\S+ from=alice@a.test to=bob@a.test start=\S+\.\d{3}Z ring=\S+ answer=\S+ end=\S+ `+
		`duration=\S+ cause=hangup by=caller reason="?Q.850;cause=16"? codec=opus caller_transport=tcp caller_remote=`+alice.addr+
		` caller_user_agent="Desk phone" callee_transport=udp callee_remote=`+bob.addr+` callee_user_agent="Soft phone"`)
	l.expect(exitOK, "0\n", "", "call", "list", "--count")

	// Log rotation: the old file is moved away, the next call goes to a new one.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	l.hangups <- syscall.SIGHUP
	l.await(t, "configuration reloaded")
	bob.send("INVITE", "sip:alice@a.test", "<sip:alice@a.test>", "Contact: <"+bob.contact()+">\r\n", "")
	alice.answer(alice.receive(), 486, "")
	if ack := alice.receive(); ack.Method() != sip.ACK {
		t.Errorf("%s", ack.Bytes())
	}
	bob.receive()
	l.await(t, `msg="call ended".*cause=rejected by=callee status=486 reason="Busy Here"`)
	call(t, alice, bob)
	l.stop() // with a call going on
	first, second := records(t, file+".1"), records(t, file)
	if len(first) != 2 || first[0].Cause != "rejected" {
		t.Fatalf("%+v", first)
	}
	if first = first[1:]; first[0].ID != live.ID || first[0].Cause != "hangup" || len(first[0].Legs) != 1 || first[0].Legs[0].Status != 200 ||
		first[0].Legs[0].Contact != bob.contact() || first[0].Answer.Before(first[0].Start.Time) {
		t.Errorf("%+v", first)
	}
	if len(second) != 2 || second[0].Status != 486 || second[1].Cause != "server_stopped" || second[1].State != "ended" {
		t.Errorf("%+v", second)
	}
}

// records reads a file of call detail records.
func records(t *testing.T, file string) (list []admin.Call) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var c admin.Call
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, c)
	}
	return list
}

// A wrong file is known at the start.
func TestCallRecordsFile(t *testing.T) {
	c := newCLI(t)
	c.env["SIPWAY_CDR_FILE"] = "no/such/directory/calls.json"
	c.env["SIPWAY_STORE"] = "memory:"
	c.expect(exitUsage, "cdr.file: open no/such/directory/calls.json", "", "serve", "--listen", "udp://127.0.0.1:0")
}

// Whoever ends a call never waits, however slow the disk is; what is too much is counted.
func TestCallRecordsOverflow(t *testing.T) {
	t.Chdir(t.TempDir())
	r, err := newRecorder(&config.CDR{File: "calls.json"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	calls := dialog.New(dialog.Config{Ended: r.ended})
	r.writing.Lock() // a disk that does not come back
	invite, err := sip.Parse([]byte("INVITE sip:b@a.test SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n" +
		"From: <sip:a@a.test>;tag=a\r\nTo: <sip:b@a.test>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	const over = 5
	for range maxRecords + over {
		calls.Begin(invite, dialog.Party{}, "").Failed(486, "Busy")
	}
	r.writing.Unlock()
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if n := len(records(t, "calls.json")); n != maxRecords || r.dropped.Load() != over {
		t.Errorf("%d records, %d dropped", n, r.dropped.Load())
	}
}

func TestMoment(t *testing.T) {
	at := moment(time.Date(2026, 7, 1, 14, 0, 0, 5_900_000, time.FixedZone("", 7200)))
	text, err := json.Marshal(at)
	if err != nil || string(text) != `"2026-07-01T12:00:00.005Z"` {
		t.Errorf("%s, %v", text, err)
	}
	var again admin.Moment
	if err := json.Unmarshal(text, &again); err != nil || !again.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("%v, %v", again, err)
	}
}
