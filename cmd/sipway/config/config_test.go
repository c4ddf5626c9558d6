package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipway/sipway/auth"
	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/sip/digest"
)

func noEnv(string) (string, bool) { return "", false }

func peer(prefix string, port uint16) Peer {
	return Peer{auth.Peer{Prefix: netip.MustParsePrefix(prefix), Port: port}}
}

// load writes text into a file named sipway.yaml and loads it.
func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("sipway.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load("sipway.yaml", noEnv, nil)
}

func TestDefaultsAreValid(t *testing.T) {
	c, err := Load("", noEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) || len(c.Warnings()) > 0 {
		t.Errorf("%+v, warnings %q", c, c.Warnings())
	}
}

func TestLoadEverything(t *testing.T) {
	c, err := load(t, `
domains: [Example.TEST, localhost]
listen:
  - udp://0.0.0.0:5060   # comments are fine
  - tcp://[::1]?proxy=1
  - ws://0.0.0.0:8080
  - WS://0.0.0.0:8081/sip?trusted=1&proxy=1
advertise: sip.example.test
store: "memory:"
store_cache: 1GiB
admin: "[::1]:9000"
users_file: users.csv
transport: {ping_interval: 20s, ping_timeout: 5s}
registrar:
  nat_keepalive: options
  nat_keepalive_interval: 20s
  min_expires: 30s
  default_expires: 5m
  max_expires: 24h
  max_contacts: 5
  contacts_policy: drop_oldest
  expires_jitter: 10
  flow_timer: 30s
  service_route: [sip:p1.example.test;lr, "<sip:p2.example.test;lr>"]
  path_policy: accept
  third_parties: [sip:pbx@Example.test]
auth:
  mode: none
  algorithms: [MD5]
  calls: always
  nonce_age: 90s
  tokens: {jwks_url: "https://login.test/jwks", audience: sip, issuer: "https://login.test", claim: name, cookie: session, query: t, header: X-Token, grace: 10s}
trusted: [10.1.0.0/16, "192.0.2.7:5060", 2001:db8::1, "[2001:db8::2]:5070", "tls:PBX.test"]
turn: {uris: ["turn:turn.test:3478?transport=udp", "stun:turn.test"], ttl: 10m}
proxies: [127.0.0.1, 10.0.0.0/8]
origins: [https://App.test, "https://*.app.test"]
tls: {cert: a.pem, key: a.key, bundles: [b.pem], client_ca: ca.pem, roots: roots.pem, recheck: 1m, acme: {domains: [sip.a.test], email: ops@a.test, ca: "https://ca.test/directory", ca_roots: ca.pem, storage: certificates, http: "0.0.0.0:80"}}
proxy: {no_answer: 15s, recurse: any, late_2xx: forward, emergency: ["112", "*110"], failover_after: 2s, large_udp: udp, session_expires: 30m, min_se: 2m}
calls: {both_lost: 30s, one_lost: 5m, max_silence: 1h}
cdr: {to_log: false, file: calls.json}
dns: {servers: [192.0.2.53, "[2001:db8::53]:5353"], timeout: 500ms, stale: 0s}
limits:
  {enabled: false, max_message: 32KiB, max_calls: 100, max_transactions: 1000, requests: 10, burst: 200, user_requests: 5, user_burst: 50,
  failures: 20, user_failures: 3, first_ban: 10s, max_ban: 1h, exempt: [10.0.0.0/8], max_connections: 5000, max_per_source: 100, max_half_open: 200}
drain: {spread: 10s, timeout: 1m}
log: {level: debug, format: json}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Domains: []Domain{"example.test", "localhost"},
		Listen: []Listener{
			{sip.UDP, "0.0.0.0:5060", "", false, false}, {sip.TCP, "[::1]:5060", "", true, false},
			{sip.WS, "0.0.0.0:8080", "/", false, false}, {sip.WS, "0.0.0.0:8081", "/sip", true, true},
		},
		Advertise: "sip.example.test", Store: "memory:", StoreCache: 1 << 30, Admin: "[::1]:9000", UsersFile: "users.csv",
		Transport: Transport{PingInterval: 20 * time.Second, PingTimeout: 5 * time.Second, ProbeTimeout: time.Second},
		Registrar: Registrar{
			MinExpires: 30 * time.Second, DefaultExpires: 5 * time.Minute, MaxExpires: 24 * time.Hour, MaxContacts: 5,
			NATKeepalive: NATOptions, NATKeepaliveInterval: 20 * time.Second,
			Park: 2 * time.Second, ProbeAfter: 10 * time.Second, ExpiresJitter: 10, FlowTimer: 30 * time.Second,
			ServiceRoute:   []Route{"<sip:p1.example.test;lr>", "<sip:p2.example.test;lr>"},
			ContactsPolicy: ContactsDropOldest, PathPolicy: PathAccept, ThirdParties: []User{"pbx@example.test"},
		},
		Auth: Auth{AuthNone, []digest.Algorithm{digest.MD5}, AuthAlways, 90 * time.Second, false, Tokens{
			"https://login.test/jwks", "", "sip", "https://login.test", "name", "session", "t", "X-Token", 10 * time.Second,
		}},
		TURN: TURN{URIs: []string{"turn:turn.test:3478?transport=udp", "stun:turn.test"}, TTL: 10 * time.Minute},
		Trusted: []Peer{
			peer("10.1.0.0/16", 0), peer("192.0.2.7/32", 5060), peer("2001:db8::1/128", 0), peer("2001:db8::2/128", 5070), {auth.Peer{Name: "pbx.test"}},
		},
		Origins: []Origin{{"https://app.test"}, {"https://*.app.test"}},
		Proxies: []Network{{netip.MustParsePrefix("127.0.0.1/32")}, {netip.MustParsePrefix("10.0.0.0/8")}},
		TLS:     TLS{"a.pem", "a.key", []string{"b.pem"}, "ca.pem", "roots.pem", time.Minute, ACME{[]Domain{"sip.a.test"}, "ops@a.test", "https://ca.test/directory", "ca.pem", "certificates", "0.0.0.0:80"}},
		Proxy: Proxy{
			15 * time.Second, RecurseAny, LateForward, []Number{"112", "*110"}, 2 * time.Second, LargeAsIs,
			30 * time.Minute, 2 * time.Minute,
		},
		Calls: Calls{30 * time.Second, 5 * time.Minute, time.Hour},
		CDR:   CDR{false, "calls.json"},
		DNS: DNS{Timeout: 500 * time.Millisecond, Servers: []Nameserver{
			{netip.MustParseAddrPort("192.0.2.53:53")}, {netip.MustParseAddrPort("[2001:db8::53]:5353")},
		}},
		Limits: Limits{
			false, 32 << 10, 100, 1000, 10, 200, 5, 50, 20, 3, 10 * time.Second, time.Hour,
			[]Network{{netip.MustParsePrefix("10.0.0.0/8")}}, 5000, 100, 200,
		},
		Drain: Drain{Spread: 10 * time.Second, Timeout: time.Minute},
		Log:   Log{slog.LevelDebug, LogJSON},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "auth.mode is none") {
		t.Errorf("warnings %q", w)
	}

	// What is shown loads to the same.
	shown, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(t, string(shown))
	if err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("shown as\n%s\nloads %+v, %v", shown, again, err)
	}
}

func TestShowDefaults(t *testing.T) {
	shown, err := Default().YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"listen:\n  - udp://127.0.0.1:5060\n", "# shortest registration granted", "  default_expires: 10m\n",
		"trusted: []\n", "max_message: 64KiB\n", "  max_contacts: 20\n", "    - SHA-256\n    - MD5\n", "users_file: \"\"\n",
	} {
		if !strings.Contains(string(shown), part) {
			t.Errorf("%q is not in\n%s", part, shown)
		}
	}
	text, err := json.Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"max_contacts":20`, `"domains":["localhost"]`, `"max_expires":"1h"`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%q is not in %s", part, text)
		}
	}
}

func TestNothingInFile(t *testing.T) {
	for _, text := range []string{"", "# only a comment\n", "---\n"} {
		if c, err := load(t, text); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

// Every error names file, line and key, and what to write instead.
func TestErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"domain: [a.test]", "sipway.yaml:1: domain: unknown key, did you mean domains?"},
		{"\nlitsen: []", "sipway.yaml:2: litsen: unknown key, did you mean listen?"},
		{"registrar:\n  max_expire: 1h", "sipway.yaml:2: registrar.max_expire: unknown key, did you mean registrar.max_expires?"},
		{"max_message: 1KiB", "sipway.yaml:1: max_message: unknown key, did you mean limits.max_message?"},
		{"auth: {log: x}", "sipway.yaml:1: auth.log: unknown key, did you mean log?"},
		{"something_else: 1", "sipway.yaml:1: something_else: unknown key"},
		{"media: {}", "sipway.yaml:1: media: is not in this version"},
		{"tls: {cert: x}", "tls: cert and key are needed together"},
		{"proxies: [10.0.0.1/8]", `sipway.yaml:1: proxies: "10.0.0.1/8" has bits set behind its prefix; is 10.0.0.0/8 meant?`},
		{"origins: [app.test]", `sipway.yaml:1: origins: "app.test": expects an origin such as https://app.example.test`},
		{"trusted: ['tls:*.test']", "expects an address, address:port, prefix"},
		{"admin_token: short", "admin_token: expects 16 characters or more"},
		{"admin_token: file:/nonexistent/token", "no such file"},
		{"auth: {tokens: {jwks_url: login.test}}", "auth.tokens.jwks_url: \"login.test\": expects an https URL"},
		{"auth: {tokens: {claim: ''}}", "auth.tokens.claim: expects the name of a claim"},
		{"auth: {tokens: {grace: 2h}}", "auth.tokens.grace: expects 0 to 1h"},
		{"turn: {secret: x}", "turn: uris are needed with secret"},
		{"turn: {uris: [turn.test]}", "turn.uris: \"turn.test\": expects turn:HOST:PORT"},
		{"turn: {ttl: 1s}", "turn.ttl: expects 1m to 24h"},
		{"proxies: [balancer]", "expects an address or a prefix such as 10.1.0.0/16"},
		{"tls: {recheck: 1ms}", "tls.recheck: expects at least 1s, not 1ms"},
		{"store: a\nadmin: b\nstore: c", "sipway.yaml:3: store: is on line 1 already"},
		{"domains: a.test", `sipway.yaml:1: domains: expects a list such as [a, b], not "a.test"`},
		{"domains: [[a]]", "sipway.yaml:1: domains: expects a list of values, not of a list"},
		{"domains: [~]", "sipway.yaml:1: domains: expects a list of values, not of nothing"},
		{"domains: [a b]", `sipway.yaml:1: domains: "a b" is not a domain`},
		{"domains: []", "domains: at least one is needed"},
		{"store:", "sipway.yaml:1: store: has no value"},
		{"store: [a]", "sipway.yaml:1: store: expects one value, not a list"},
		{`store: ""`, "store: expects sqlite:FILE, postgres://USER@HOST/DATABASE or memory:"},
		{"store_cache: 1000", "store_cache: expects at least 1MiB"},
		{"registrar: 5", `sipway.yaml:1: registrar: expects keys below it, not one value`},
		{"admin_token: *secret", "sipway.yaml: a value that begins with * needs quotes"},
		{"- a", "sipway.yaml:1: expects keys below it, not a list"},
		{"registrar: {min_expires: 60}", `sipway.yaml:1: registrar.min_expires: "60": expects a duration such as 90s or 1h`},
		{"registrar: {max_contacts: many}", `sipway.yaml:1: registrar.max_contacts: "many": expects a whole number`},
		{"auth: {integrity: maybe}", `sipway.yaml:1: auth.integrity: "maybe": expects true or false`},
		{"transport: {ping_interval: 10ms}", "transport.ping_interval: expects 0 or at least 1s, not 10ms"},
		{"transport: {probe_timeout: 0s}", "transport: expects ping_timeout and probe_timeout of at least 100ms, not 10s, 0s"},
		{"registrar: {nat_keepalive: stun}", "registrar.nat_keepalive: "},
		{"registrar: {nat_keepalive_interval: 0s}", "registrar.nat_keepalive_interval: expects at least 1s, not 0s"},
		{"registrar: {park: 1m}", "registrar.park: expects 0 to 30s, not 1m0s"},
		{"registrar: {probe_after: 0s}", "registrar.probe_after: expects at least 1ms, not 0s"},
		{"registrar: {expires_jitter: 60}", "registrar.expires_jitter: expects 0 to 50 percent, not 60"},
		{"registrar: {flow_timer: 10ms}", "registrar.flow_timer: expects 0 or at least 1s, not 10ms"},
		{"registrar: {service_route: [p.example.test]}", `sipway.yaml:1: registrar.service_route: "p.example.test": expects a SIP URI such as sip:proxy.example.test;lr`},
		{"registrar: {service_route: ['sip:p.example.test']}", `sipway.yaml:1: registrar.service_route: "sip:p.example.test": expects ;lr behind it`},
		{"registrar: {path_policy: maybe}", `sipway.yaml:1: registrar.path_policy: expects refuse or accept, not "maybe"`},
		{"registrar: {third_parties: [pbx]}", `sipway.yaml:1: registrar.third_parties: "pbx": expects a user such as pbx@example.test`},
		{"registrar: {third_parties: [pbx@far.test]}", "registrar.third_parties: pbx@far.test is of none of the domains"},
		{"registrar: {max_contacts: 0}", "registrar.max_contacts: expects at least 1"},
		{"registrar: {min_expires: 20m}", "registrar: expects 1s <= min_expires <= default_expires <= max_expires, not 20m0s, 10m0s, 1h0m0s"},
		{"limits: {max_message: 64kb}", `sipway.yaml:1: limits.max_message: "64kb": expects a size such as 4096 or 64KiB`},
		{"calls: {both_lost: 1h}", "calls: expects 1s <= both_lost <= one_lost and max_silence of at least 1m, not 1h0m0s, 10m0s, 12h0m0s"},
		{"proxy: {min_se: 1m}", "proxy.min_se: expects at least 90s, not 1m0s"},
		{"proxy: {session_expires: 1m}", "proxy.session_expires: expects 0 or at least proxy.min_se, not 1m0s"},
		{"limits: {max_message: 1KiB}", "limits.max_message: expects 4KiB to 16MiB"},
		{"listen: [tls://0.0.0.0:5061]", "listen: tls://0.0.0.0:5061 needs a certificate: tls: {cert: FILE, key: FILE}"},
		{"listen: [wss://0.0.0.0]", "listen: wss://0.0.0.0:443/ needs a certificate"},
		{"listen: [sctp://0.0.0.0]", "unknown transport sctp, expects udp, tcp, tls, ws or wss"},
		{"listen: [0.0.0.0:5060]", "expects a URL such as udp://0.0.0.0:5060"},
		{"listen: [udp://0.0.0.0:99999]", "port 99999 is not in 0-65535"},
		{"listen: [udp://0.0.0.0/x]", "udp has no path"},
		{"listen: [udp://a@0.0.0.0]", "nothing but host, port and path"},
		{"listen: ['tcp://0.0.0.0?proxy=2']", "the only options behind ? are proxy=1 and trusted=1"},
		{"listen: ['udp://0.0.0.0?proxy=1']", "the PROXY protocol is for connections"},
		{"listen: ['tcp://0.0.0.0?proxy=1']", "listen: tcp://0.0.0.0:5060?proxy=1 expects the PROXY protocol, and nobody is let speak it: name the load balancers in proxies"},
		{"listen: []", "listen: at least one listener is needed"},
		{"listen: [udp://0.0.0.0, udp://0.0.0.0:5060]", "listen: udp://0.0.0.0:5060 is there twice"},
		{"auth: {mode: basic}", `sipway.yaml:1: auth.mode: expects digest or none, not "basic"`},
		{"auth: {calls: never}", `auth.calls: expects flow or always, not "never"`},
		{"auth: {algorithms: [SHA-1]}", "auth.algorithms: expects MD5, SHA-256 or SHA-512-256"},
		{"auth: {algorithms: [MD5, md5]}", "auth.algorithms: MD5 is there twice"},
		{"auth: {algorithms: []}", "auth.algorithms: at least one is needed"},
		{"drain: {spread: 20s}", "drain: expects 0 <= spread < timeout and a timeout of at least 1s, not 20s, 20s"},
		{"auth: {nonce_age: 1ms}", "auth.nonce_age: expects at least 1s"},
		{"proxy: {no_answer: 10m}", "proxy.no_answer: expects 0 or 1s to 3m"},
		{"proxy: {recurse: maybe}", "expects own, any or never"},
		{"proxy: {late_2xx: drop}", "expects auto, forward or terminate"},
		{"proxy: {emergency: [police]}", `"police" is not a telephone number`},
		{"limits: {max_calls: 0}", "limits.max_calls: expects at least 1"},
		{"limits: {burst: 0}", "limits.burst: expects 1 to 10000000, not 0"},
		{"limits: {first_ban: 1h, max_ban: 1m}", "limits: expects 1s <= first_ban <= max_ban <= 720h, not 1h0m0s, 1m0s"},
		{"limits: {max_half_open: -1}", "can't be negative"},
		{"limits: {max_transactions: 1}", "limits.max_transactions: expects at least 64"},
		{"trusted: [10.1.0.1/16]", `trusted: "10.1.0.1/16" has bits set behind its prefix; is 10.1.0.0/16 meant?`},
		{"trusted: [pbx.test]", "expects an address, address:port, prefix"},
		{"log: {level: loud}", "sipway.yaml:1: log.level: "},
		{"log: {format: xml}", "log.format: expects auto, console, logfmt or json"},
		{"advertise: http://x", `advertise: "http://x" is not a host name or an address`},
		{"admin: localhost", `admin: "localhost" is neither an address with a port nor unix:PATH`},
		{"proxy: {failover_after: 40s}", "proxy.failover_after: expects 500ms to 32s"},
		{"proxy: {large_udp: tcp}", `proxy.large_udp: expects tcp_first or udp, not "tcp"`},
		{"dns: {servers: [ns.test]}", `dns.servers: "ns.test": expects an address`},
		{"dns: {servers: ['127.0.0.1:0']}", "expects an address such as"},
		{"dns: {timeout: 1ms}", "dns.timeout: expects 100ms to 10s"},
		{"dns: {stale: 8760h}", "dns.stale: expects 0s to 168h"},
		{"store: [", "sipway.yaml: yaml: line 1"},
		{"store: a\n---\nstore: b", "sipway.yaml: expects one YAML document"},
	} {
		c, err := load(t, tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %s", tc.text, err, tc.want)
		}
		if err != nil && c != nil {
			t.Errorf("%q: configuration along with an error", tc.text)
		}
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := load(t, "storre: x\nadmin: [1]\nauth: {mode: x}\n")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three lines: %v", err)
	}
}

func TestAliases(t *testing.T) {
	c, err := load(t, "auth: {nonce_age: &t 2m}\nregistrar: {min_expires: *t}\n")
	if err != nil || c.Registrar.MinExpires != 2*time.Minute {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := load(t, "auth: &a {mode: *a}\n"); err == nil {
		t.Error("an alias within itself is accepted")
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), noEnv, nil); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Error(err)
	}
}

func TestPrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("c.yaml", []byte("store: a\nadmin: 127.0.0.1:1\ndomains: [file.test]\nregistrar: {min_expires: 10s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"SIPWAY_STORE":                 "b",
		"SIPWAY_DOMAINS":               "one.test, two.test",
		"SIPWAY_REGISTRAR_MIN_EXPIRES": "20s",
		"SIPWAY_USERS_FILE":            "", // absent
		"SIPWAY_SERVICE_HOST":          "10.0.0.1",
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	c, err := Load("c.yaml", lookup, []Override{{"--store", "store", []string{"c"}}, {"--listen", "listen", []string{"tcp://127.0.0.1:1", "udp://127.0.0.1:2"}}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Store != "c" || c.Admin != "127.0.0.1:1" || len(c.Domains) != 2 || c.Domains[1] != "two.test" || c.Registrar.MinExpires != 20*time.Second || len(c.Listen) != 2 {
		t.Errorf("%+v", c)
	}

	env["SIPWAY_AUTH_MODE"] = "x"
	_, err = Load("", lookup, []Override{{"--listen", "listen", []string{"x"}}, {"--store", "store", nil}, {"--x", "nonsense", nil}})
	for _, want := range []string{"environment variable SIPWAY_AUTH_MODE: expects digest", `--listen: "x": expects a URL`, "--store: expects one value", "--x: no key nonsense"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// Every key is documented, so the reference is complete.
func TestReference(t *testing.T) {
	ref := Reference()
	for _, f := range Default().leaves() {
		if f.doc == "" || f.name == "" {
			t.Errorf("%s is not documented", f.key)
		}
		if !strings.Contains(ref, "| `"+f.key+"` |") || !strings.Contains(ref, "`"+f.env()+"`") {
			t.Errorf("%s is not in the reference", f.key)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"listen", "litsen", 1}, {"store", "sotre", 1}, {"admin", "admins", 1}, {"kitten", "sitting", 3}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("distance(%s, %s) = %d", tc.a, tc.b, got)
		}
	}
}

func TestSizeText(t *testing.T) {
	for text, want := range map[string]string{"0": "0", "1000": "1000", "1024": "1KiB", "64KiB": "64KiB", "2048KiB": "2MiB", "3B": "3", "1GiB": "1GiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != want {
			t.Errorf("%s reads %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "-1", "KiB", "9999999999GiB", "1.5MiB"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// A secret is in the configuration and nowhere else, however it is written.
func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-a-file-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, "admin_token: file:"+file+"\nturn: {secret: in-the-configuration, uris: [turn:t.test]}\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.AdminToken.Value() != "from-a-file-0123456789" || c.TURN.Secret.Value() != "in-the-configuration" {
		t.Errorf("%q, %q", c.AdminToken.Value(), c.TURN.Secret.Value())
	}
	other, err := load(t, "admin_token: file:"+file+"\nturn: {secret: in-another-one, uris: [turn:t.test]}\n")
	if keys := Diff(c, other); err != nil || !slices.Equal(keys, []string{"turn.secret"}) {
		t.Errorf("keys %q differ, %v", keys, err)
	}
	yaml, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	json, err := c.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(yaml), string(json), fmt.Sprint(c), fmt.Sprintf("%+v %#v", c.AdminToken, c.TURN)} {
		if strings.Contains(text, "from-a-file") || strings.Contains(text, "in-the-configuration") {
			t.Errorf("a secret is written: %s", text)
		}
	}
}

// What lets strangers in is said loudly.
func TestTokenWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"auth: {tokens: {jwks_url: 'http://login.test/jwks'}}":       "jwks_url is http",
		"origins: ['*']\nauth: {tokens: {keys: k, cookie: session}}": "origins has * and auth.tokens.cookie is set",
		"auth: {tokens: {jwks_url: 'http://127.0.0.1:1/jwks'}}":      "",
	} {
		c, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if w := strings.Join(c.Warnings(), "\n"); !strings.Contains(w, want) || (w == "") != (want == "") {
			t.Errorf("%s: %q", text, w)
		}
	}
}
