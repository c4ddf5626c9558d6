package kamailio

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	c := Config{
		UDP: netip.MustParseAddrPort("127.0.0.1:5060"), TCP: netip.MustParseAddrPort("127.0.0.1:5060"), WS: netip.MustParseAddrPort("127.0.0.1:8080"),
		Domain: "example.test", Password: "secret", UDPChildren: 2, TCPChildren: 1, MaxConnections: 6000,
	}
	var b strings.Builder
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for _, want := range []string{
		"#!KAMAILIO", "listen=udp:127.0.0.1:5060", "listen=tcp:127.0.0.1:8080", "alias=example.test",
		"children=2", "tcp_children=1", "tcp_max_connections=6000", `modparam("usrloc", "db_mode", 0)`,
		`modparam("websocket", "ping_application_data", "ping")`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q", want)
		}
	}
	if !strings.Contains(b.String(), `pv_auth_check("example.test", "secret",`) {
		t.Error("credentials are not checked")
	}
	c.TCPChildren = 0
	if c.Write(&b) == nil {
		t.Error("accepted no TCP child")
	}
}

func TestArgs(t *testing.T) {
	args := strings.Join(Args("f.cfg", "d"), " ")
	for _, want := range []string{"-x fm", "-f f.cfg", "-Y d", "-DD"} {
		if !strings.Contains(args, want) {
			t.Errorf("%q lacks %q", args, want)
		}
	}
}
