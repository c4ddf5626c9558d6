package main

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/admin"
)

// from connects a phone over UDP from an address of loopback.
func from(t *testing.T, addr, local string) *phone {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(local)}}
	conn, err := d.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	p := dial(t, "udp", addr, "stranger")
	p.conn, p.addr = conn, conn.LocalAddr().String()
	p.in.Reset(conn)
	return p
}

func TestBans(t *testing.T) {
	c := newCLI(t)
	c.write("sipway.yaml", "limits: {exempt: [127.0.0.1]}\n")
	l := c.lab("--config", "sipway.yaml")
	scanner, other := from(t, l.udp, "127.0.0.66"), from(t, l.udp, "127.0.0.67")
	l.expect(exitOK, "", "", "ban", "list")

	scan := fmt.Sprintf("OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK1\r\nFrom: <sip:100@1.1.1.1>;tag=1\r\n"+
		"To: <sip:100@1.1.1.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nUser-Agent: friendly-scanner\r\nContent-Length: 0\r\n\r\n", scanner.addr)
	if _, err := scanner.conn.Write([]byte(scan)); err != nil {
		t.Fatal(err)
	}
	other.send("OPTIONS", "sip:a.test", "<sip:a.test>", "", "")
	if m := other.receive(); m.Status() != 200 {
		t.Errorf("%s", m.Bytes())
	}
	l.await(t, `source banned.*source=127.0.0.66/32 reason=scanner for=30s`)
	l.expect(exitOK, "127.0.0.66  scanner", "", "ban", "list")

	l.expect(exitOK, "127.0.0.67  manual", "", "ban", "add", "127.0.0.67", "--for", "1h")
	other.send("OPTIONS", "sip:a.test", "<sip:a.test>", "", "")
	var bans []admin.Ban
	for line := range strings.Lines(l.expect(exitOK, "", "", "ban", "list", "--json")) {
		var b admin.Ban
		if err := json.Unmarshal([]byte(line), &b); err != nil {
			t.Fatal(err)
		}
		bans = append(bans, b)
	}
	if len(bans) != 2 || bans[1].Source != "127.0.0.67" || bans[1].Reason != "manual" || bans[1].ExpiresIn < 3590 || bans[0].Count != 1 {
		t.Errorf("%+v", bans)
	}

	l.expect(exitOK, "127.0.0.67 is heard again\n", "", "ban", "rm", "127.0.0.67")
	l.expect(exitNotFound, "127.0.0.67 is not banned", "", "ban", "rm", "127.0.0.67")
	l.expect(exitUsage, "expects an address", "", "ban", "add", "nonsense")
	l.expect(exitUsage, "sources are single addresses", "", "ban", "add", "127.0.0.0/8")
	other.send("OPTIONS", "sip:a.test", "<sip:a.test>", "", "")
	// That of the time of the ban never has an answer.
	if m := other.receive(); m.Status() != 200 || !strings.Contains(string(m.Bytes()), "CSeq: 3 ") {
		t.Errorf("%s", m.Bytes())
	}
}
