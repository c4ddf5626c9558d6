package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/emiago/sipgo/sip"

	"github.com/sipway/sipway/transport/dnstest"
)

// kamailioConfig is a Kamailio that has the users of a domain, over TLS alone, and gives what is
// for ours to sipway, with the caller's number asserted.
const kamailioConfig = `#!KAMAILIO
debug=1
log_stderror=yes
disable_core_dump=yes
enable_tls=yes
listen=tls:%[1]s
alias=%[2]s
auto_aliases=no
children=1
tcp_children=1
dns=no
rev_dns=no
mpath="%[5]s"
loadmodule "tls.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("tls", "config", "%[4]s/tls.cfg")
modparam("tm", "fr_timer", 2000)

request_route {
	if (has_totag()) {
		if (loose_route() || method == "ACK" && t_check_trans()) {
			t_relay();
		} else if (method != "ACK") {
			sl_send_reply("404", "Not Found");
		}
		exit;
	}
	if (method == "CANCEL") {
		if (t_check_trans()) {
			t_relay();
		}
		exit;
	}
	remove_hf("Route");
	if (method == "REGISTER") {
		save("location");
		exit;
	}
	record_route();
	if (uri == myself) {
		if (!lookup("location")) {
			sl_send_reply("404", "Not Found");
			exit;
		}
	} else {
		append_hf("P-Asserted-Identity: <tel:+4930123>\r\n");
		$du = "sip:%[3]s;transport=tls";
	}
	t_relay();
}
`

// kamailioTLS has both sides of every connection show a certificate.
const kamailioTLS = `[%[2]s:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
certificate = %[1]s/%[2]s.pem
private_key = %[1]s/%[2]s.pem
ca_list = %[1]s/ca.pem
`

// papers are what a Kamailio shows to who connects to it and to whom it connects to, and who
// vouches for those.
type papers struct{ server, client, ca identity }

// startKamailio starts one for the users of a domain beside sipway.
func startKamailio(t *testing.T, s *server, of string, with papers) (addr string) {
	t.Helper()
	modules, _ := filepath.Glob("/usr/lib/*/kamailio/modules")
	if len(modules) == 0 {
		t.Fatal("no modules of Kamailio")
	}
	dir, addr := t.TempDir(), freePort(t)
	for name, text := range map[string]string{
		"server.pem": string(with.server.pem), "client.pem": string(with.client.pem), "ca.pem": string(with.ca.pem),
		"tls.cfg":      fmt.Sprintf(kamailioTLS, dir, "server") + fmt.Sprintf(kamailioTLS, dir, "client"),
		"kamailio.cfg": fmt.Sprintf(kamailioConfig, addr, of, s.tls, dir, modules[0]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/usr/sbin/kamailio", "-DD", "-E", "-f", filepath.Join(dir, "kamailio.cfg"), "-w", dir, "-Y", dir,
		"-P", filepath.Join(dir, "pid"), "-m", "64", "-M", "8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := startProcess(t, "kamailio", cmd)
	// It has children, does not always hear of a signal while they start, and has nothing to save.
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	awaitTCP(t, addr, p)
	return addr
}

// papersOf are right ones for a domain, and wrong ones that nobody vouches for.
func papersOf(t *testing.T, name string) (right papers, wrong identity) {
	t.Helper()
	ca, err := theIdentity()
	if err != nil {
		t.Fatal(err)
	}
	own, err := newIdentity(&ca, name)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err = newIdentity(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	return papers{server: own, client: own, ca: ca}, wrong
}

// leads has the names of domains lead to a server over TLS alone.
func leads(t *testing.T, names *dnstest.Server, addr string, domains ...string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	for _, d := range domains {
		names.Set(t, d+` 60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.`+d+".",
			"_sips._tcp."+d+" 60 IN SRV 0 0 "+port+" host."+d+".", "host."+d+" 60 IN A 127.0.0.1")
	}
}

// Users of sipway and of a Kamailio call one another over TLS, which both sides prove who they are
// by, with a sips URI and with a sip one: the far side hangs up. The Kamailio is a trusted peer by
// its certificate, so it is told who calls, and believed.
func TestKamailioOverTLS(t *testing.T) {
	const far = "pbx.test"
	names := dnstest.Start(t)
	s := startServer(t, settings{secure: true, peers: true, more: fmt.Sprintf("dns: {servers: [%q]}\ntrusted: [\"tls:%s\"]\nlog: {level: debug}\n", names.Addr, far)})
	right, _ := papersOf(t, far)
	kamailio := startKamailio(t, s, far, right)
	network := startRelay(t, kamailio)
	leads(t, names, network.addr, far)
	for scheme, users := range map[string][2]string{"sips": {"alice", "kate"}, "sip": {"bob", "karl"}} {
		t.Run(scheme, func(t *testing.T) {
			ours := deskPhoneOf(t, sip.Uri{Scheme: scheme, User: users[0], Host: domain}, "tls", s.tls)
			theirs := deskPhoneOf(t, sip.Uri{Scheme: scheme, User: users[1], Host: far}, "tls", kamailio)
			for _, way := range []struct {
				from, to *deskPhone
				asserted string
			}{{ours, theirs, "<sip:" + users[0] + "@" + domain + ">"}, {theirs, ours, "<tel:+4930123>"}} {
				way.from.register(t)
				way.to.register(t)
				out := way.from.dial(t, way.to.name+"@"+way.to.domain.Host)
				in := way.to.box.await(t, "incoming", 0).Call
				way.from.box.await(t, "progress", out)
				way.to.answer(t, in)
				way.from.box.await(t, "established", out)
				way.to.box.await(t, "established", in)
				release(t, way.to, in, way.from, out)
				got := way.to.call(in).received.InviteRequest.GetHeader("P-Asserted-Identity")
				if got == nil || !strings.HasSuffix(got.Value(), way.asserted) {
					t.Errorf("%s is told of %v, not %s", way.to.name, got, way.asserted)
				}
			}
			for _, p := range []*deskPhone{ours, theirs} {
				if got := outline(p.messages()); !strings.Contains(got, "INVITE ACK") || strings.Count(got, "180 200") != 1 || strings.Count(got, "BYE") != 1 {
					t.Errorf("%s heard %s", p.name, got)
				}
				for _, m := range p.messages() {
					if scheme == "sips" {
						checkSecure(t, p.name, m, 3)
					} else if req, ok := m.(*sip.Request); ok && (req.Recipient.Scheme != "sip" || strings.Count(m.String(), "\nVia: SIP/2.0/TLS ") != 3) {
						t.Errorf("%s heard\n%s", p.name, m.String())
					}
				}
			}
		})
	}
	// Kamailio closes connections that are idle for two minutes; a call is longer.
	t.Run("connection breaks in a call", func(t *testing.T) {
		erin := deskPhoneOf(t, sip.Uri{Scheme: "sips", User: "erin", Host: domain}, "tls", s.tls)
		kim := deskPhoneOf(t, sip.Uri{Scheme: "sips", User: "kim", Host: far}, "tls", kamailio)
		erin.register(t)
		kim.register(t)
		for _, kimHangsUp := range []bool{false, true} {
			out := erin.dial(t, "kim@"+far)
			in := kim.box.await(t, "incoming", 0).Call
			kim.answer(t, in)
			erin.box.await(t, "established", out)
			kim.box.await(t, "established", in)
			network.cut()
			if kimHangsUp {
				release(t, kim, in, erin, out)
			} else {
				release(t, erin, out, kim, in)
			}
		}
	})
}

// Who is not whom he claims to be gets no call and gives none, and the log says why (RFC 5922 §7).
func TestKamailioWithWrongCertificate(t *testing.T) {
	names := dnstest.Start(t)
	s := startServer(t, settings{secure: true, peers: true, more: fmt.Sprintf("dns: {servers: [%q]}\n", names.Addr)})
	alice := newDeskPhone(t, s, "tls", "alice")
	alice.register(t)
	for _, test := range []struct {
		name, domain string
		with         func(right papers, wrong identity) papers
		called       string // the domain that leads to it
		why          []string
	}{
		{"of another domain", "a.test", func(right papers, _ identity) papers { return right }, "other.test",
			[]string{`msg="server unreachable"`, `certificate is for [\"a.test\"], not for other.test (RFC 5922)`}},
		{"that nobody vouches for", "b.test", func(right papers, wrong identity) papers { return papers{wrong, wrong, right.ca} }, "b.test",
			[]string{`msg="server unreachable"`, "x509: certificate signed by unknown authority"}},
		{"and wants another of us", "c.test", func(right papers, wrong identity) papers { return papers{right.server, right.client, wrong} }, "c.test",
			[]string{`msg="server failed"`, `msg="connection ended by the server's TLS"`, "remote error: tls: unknown certificate authority"}},
	} {
		t.Run("called, has one "+test.name, func(t *testing.T) {
			leads(t, names, startKamailio(t, s, test.domain, test.with(papersOf(t, test.domain))), test.called)
			before := len(s.output.String())
			fails(t, alice, "kate@"+test.called, 500)
			s.awaitLog(t, before, test.why...)
		})
	}
	t.Run("calls, has one that nobody vouches for", func(t *testing.T) {
		right, wrong := papersOf(t, "d.test")
		kamailio := startKamailio(t, s, "d.test", papers{right.server, wrong, right.ca})
		kate := deskPhoneOf(t, sip.Uri{Scheme: "sips", User: "kate", Host: "d.test"}, "tls", kamailio)
		before := len(s.output.String())
		kate.box.await(t, "failed", kate.dial(t, "alice@"+domain))
		s.awaitLog(t, before, `msg="certificate refused"`, "x509: certificate signed by unknown authority", "certificate=[d.test]")
		if heard := alice.messages(); strings.Contains(outline(heard), "INVITE") {
			t.Errorf("alice heard %s", outline(heard))
		}
	})
}
