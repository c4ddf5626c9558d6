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
		Domain: "example.test", Password: "secret", Challenged: netip.MustParseAddr("127.0.0.5"), UDPChildren: 2, TCPChildren: 1, MaxConnections: 6000,
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
	for _, after := range []string{`if (method == "REGISTER") {`, `if (src_ip == 127.0.0.5) {`} {
		_, block, _ := strings.Cut(b.String(), after)
		if !strings.HasPrefix(strings.TrimSpace(block), `if (!pv_auth_check("example.test", "secret",`) {
			t.Errorf("credentials are not checked after %s", after)
		}
	}
	c.TCPChildren = 0
	if c.Write(&b) == nil {
		t.Error("accepted no TCP child")
	}
}

func TestArgs(t *testing.T) {
	args := strings.Join(Args("f.cfg", "d", TLSF), " ")
	for _, want := range []string{"-x tlsf", "-f f.cfg", "-Y d", "-DD"} {
		if !strings.Contains(args, want) {
			t.Errorf("%q lacks %q", args, want)
		}
	}
	if slices.Contains(Args("f.cfg", "d", ""), "-x") {
		t.Error("its default memory manager is named")
	}
}
