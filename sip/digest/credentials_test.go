package digest

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// As JsSIP, SIP.js and baresip write them.
const (
	jssip   = `Digest algorithm=MD5, username="alice", realm="example.test", nonce="awLyc2sC8UdKj20+3LjT4WDqFZJrx4l+", uri="sip:example.test", response="34f8da6b75478ad9a3cbd4a463f41fd8", qop=auth, cnonce="ffm5ntumjfnd", nc=00000001`
	sipjs   = `Digest algorithm=MD5, username="bob", realm="example.test", nonce="awLydGsC8Uj3ta2EAqLjo4+2N8DWMbfZ", uri="sip:alice@example.test;gr=urn:uuid:00000007-1111-4222-8333-444444444447", response="b00c85b00155db7734f8761f4fec2c07", qop=auth, cnonce="6p6ieav8o3a9", nc=00000002`
	baresip = `Digest username="carol", realm="example.test", nonce="abc", uri="sip:example.test", response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", algorithm=SHA-256, opaque="x", cnonce="7f3a", qop=auth, nc=0000002a`
)

func TestParseCredentials(t *testing.T) {
	base := Credentials{Username: "u", Realm: "r", Nonce: "n", URI: "sip:r", Response: "0", Algorithm: MD5}
	with := func(edit func(*Credentials)) Credentials {
		c := base
		edit(&c)
		return c
	}
	const rest = `realm="r",nonce="n",uri="sip:r",response="0"`
	for _, tc := range []struct {
		name, in string
		want     Credentials
	}{
		{"jssip", jssip, Credentials{
			Username: "alice", Realm: "example.test", Nonce: "awLyc2sC8UdKj20+3LjT4WDqFZJrx4l+", URI: "sip:example.test",
			Response: "34f8da6b75478ad9a3cbd4a463f41fd8", QOP: "auth", CNonce: "ffm5ntumjfnd", NC: "00000001", Algorithm: MD5, AlgorithmName: "MD5"}},
		{"baresip", baresip, Credentials{
			Username: "carol", Realm: "example.test", Nonce: "abc", URI: "sip:example.test",
			Response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", QOP: "auth", CNonce: "7f3a", NC: "0000002a",
			Opaque: "x", Algorithm: SHA256, AlgorithmName: "SHA-256"}},
		{"no algorithm", `Digest username="u",` + rest, base},
		{"any case, no order", `dIGEST RESPONSE = "0" , URI="sip:r", Nonce="n",Realm="r", userNAME="u"`, base},
		{"tabs and folds", "Digest\tusername=\"u\",\r\n " + rest, base},
		{"tokens for strings", `Digest username=u, realm=r, nonce=n, uri=sip:r, response=0`, base},
		{"strings for tokens", `Digest username="u", qop="auth", nc="00000001", algorithm="sha-256", ` + rest, with(func(c *Credentials) {
			c.QOP, c.NC, c.Algorithm, c.AlgorithmName = "auth", "00000001", SHA256, "sha-256"
		})},
		{"escapes", `Digest username="a\"b\\c\d", ` + rest, with(func(c *Credentials) { c.Username = `a"b\cd` })},
		{"commas and equals in strings", `Digest username="a, realm=x", ` + rest, with(func(c *Credentials) { c.Username = "a, realm=x" })},
		{"unknown parameters", `Digest username="u", auth-param="x, y", x=1, x=2, ` + rest, base},
		{"empty elements", `Digest ,, username="u",,` + rest + ", ", base},
		{"empty value", `Digest username="u", opaque=, ` + rest, base},
		{"MD5-sess", `Digest username="u", algorithm=MD5-sess, ` + rest, with(func(c *Credentials) { c.Algorithm, c.AlgorithmName = 0, "MD5-sess" })},
	} {
		got, err := ParseCredentials(tc.in)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v, want %+v", tc.name, got, err, tc.want)
		}
	}
}

func TestParseCredentialsErrors(t *testing.T) {
	const rest = `realm="r",nonce="n",uri="sip:r",response="0"`
	for _, tc := range []struct{ in, want string }{
		{`Digest ` + rest, "username missing"},
		{`Digest username="u", realm="r", nonce="n", uri="sip:r"`, "response missing"},
		{`Digest`, "username missing"},
		{`Digest username="u", nonce="m", ` + rest, "nonce twice"},
		{`Digest username="u", NONCE="m", ` + rest, "nonce twice"},
		{`Digest username="u, realm=r`, "without its end"},
		{`Digest username="u\`, "without its end"},
		{`Digest username="u\"`, "without its end"},
		{`Digest username, ` + rest, "without a value"},
		{`Digest ="u", ` + rest, "without a value"},
		{`Digest username="u" ` + rest, "not separated"},
		{`Digest username="u"x, ` + rest, "not separated"},
		{`Digest username=u=v, ` + rest, "not separated"},
	} {
		_, err := ParseCredentials(tc.in)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.in, err, tc.want)
		}
	}
	for _, in := range []string{"", "Bearer abc", "Basic eDp5", `DigestX username="u"`, `Digest="u"`, `Digest,username="u"`, ` Digest username="u"`} {
		if _, err := ParseCredentials(in); !errors.Is(err, ErrScheme) {
			t.Errorf("%q: %v, want ErrScheme", in, err)
		}
	}
}

func TestParseCredentialsAllocations(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseCredentials(jssip); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// print writes credentials so that they read the same.
func (c *Credentials) print() string {
	var b strings.Builder
	b.WriteString("Digest ")
	for _, p := range []struct{ name, val string }{
		{"username", c.Username}, {"realm", c.Realm}, {"nonce", c.Nonce}, {"uri", c.URI}, {"response", c.Response},
		{"qop", c.QOP}, {"cnonce", c.CNonce}, {"nc", c.NC}, {"opaque", c.Opaque}, {"algorithm", c.AlgorithmName},
	} {
		// An absent algorithm and an empty one differ: the one means MD5, the other is unknown.
		if p.val != "" || p.name == "algorithm" && c.Algorithm == 0 || paramBit(p.name)&pRequired != 0 {
			b.WriteString(p.name + `="` + quote(p.val) + `",`)
		}
	}
	return b.String()
}

// What parses prints, and what is printed parses to the same; no input makes Verify accept a
// user without H(A1).
func FuzzCredentials(f *testing.F) {
	for _, seed := range []string{
		jssip, sipjs, baresip, "Bearer token", "Digest", `Digest username="`, `Digest username="\"\\",realm=r,nonce=,uri="sip:r",response=0`,
		"Digest\r\n\tUSERNAME = \"u\" ,,realm=\"r\"",
	} {
		f.Add(seed)
	}
	s, err := New(Config{Key: make([]byte, 32)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, err := ParseCredentials(value)
		if err != nil {
			return
		}
		again, err := ParseCredentials(c.print())
		if err != nil || again != c {
			t.Fatalf("%+v printed as %s reads %+v, %v", c, c.print(), again, err)
		}
		r := Request{Method: "REGISTER", URI: c.URI, Realm: c.Realm}
		if res := s.Verify(&c, r, ""); res.Outcome == OK {
			t.Fatal("accepted without H(A1)")
		}
	})
}
