package sip_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/sipway/sipway/sip"
)

// TestTorture runs the cases of RFC 4475 and RFC 5118 and our own through the parser.
func TestTorture(t *testing.T) {
	for _, s := range readTorture(t) {
		t.Run(s.name, func(t *testing.T) {
			if s.head["case"] != s.name {
				t.Errorf("file calls itself %q", s.head["case"])
			}
			for _, field := range []string{"source", "what", "udp", "tcp", "ws"} {
				if s.head[field] == "" {
					t.Errorf("file does not say %s", field)
				}
			}
			m, err := sip.Parse(slices.Clone(s.raw))
			if got := verdict(err); got != s.head["parse"] {
				t.Fatalf("Parse says %s (%v), want %s", got, err, s.head["parse"])
			}
			if m != nil {
				checkReprint(t, m)
			}
		})
	}
}

// verdict spells an error of Parse as testdata/torture does.
func verdict(err error) string {
	fault, ok := errors.AsType[*sip.Error](err)
	switch {
	case err == nil:
		return "ok"
	case !ok:
		return err.Error()
	case fault.Header == "":
		return strconv.Itoa(fault.Status) + " -"
	}
	return strconv.Itoa(fault.Status) + " " + fault.Header
}

// checkReprint checks that what was understood is written so that it is understood again.
func checkReprint(t *testing.T, m *sip.Message) {
	t.Helper()
	again, err := sip.Parse(m.Bytes())
	if again == nil {
		t.Fatalf("printed message can't be read: %v\n%s", err, m)
	}
	if again.String() != m.String() {
		t.Errorf("printed message prints otherwise:\n%q\nwant\n%q", again, m)
	}
}

// TestTortureFields looks into those cases of RFC 4475 that are valid for what they mean.
func TestTortureFields(t *testing.T) {
	parse := func(t *testing.T, name string) *sip.Message {
		for _, s := range readTorture(t) {
			if s.name == name {
				m, err := sip.Parse(s.raw)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
		}
		t.Fatalf("no case %s", name)
		return nil
	}
	t.Run("wsinv", func(t *testing.T) {
		m := parse(t, "wsinv")
		equal(t, "Vias", slices.Collect(m.Values(sip.HVia)), []string{
			"SIP  /   2.0 /UDP 192.0.2.2;branch=390skdjuw;rport",
			"SIP  / 2.0  / TCP     spindle.example.com   ; branch  =   z9hG4bK9ikj8",
			"SIP  /    2.0   / UDP  192.168.255.111   ; branch= z9hG4bK30239",
		})
		equal(t, "To", m.To().URI, "sip:vivekg@example.test")
		equal(t, "To tag", m.ToTag(), "1918181833n")
		equal(t, "From", m.From().Display, `"J Rosenberg \\\""`)
		equal(t, "From tag", m.FromTag(), "98asjd8")
		equal(t, "CSeq", m.CSeq(), sip.CSeq{Seq: 9, Method: sip.INVITE})
		hops, _ := m.MaxForwards()
		equal(t, "Max-Forwards", hops, 68)
		contacts, err := m.Contacts()
		if err != nil || len(contacts) != 1 {
			t.Fatal(contacts, err)
		}
		equal(t, "q", contacts[0].Q(), 330)
		equal(t, "body", len(m.Body()), 150)
		value, _ := m.GetNamed("newfangledheader")
		equal(t, "folded value", value, "newfangled value continued newfangled value")
	})
	t.Run("intmeth", func(t *testing.T) {
		m := parse(t, "intmeth")
		equal(t, "method", m.Method(), sip.Method("!interesting-Method0123456789_*+`.%indeed'~"))
		equal(t, "To", m.To().Display, "\"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\"")
		equal(t, "From", m.From().Display, "token1~` token2'+_ token3*%!.-")
		equal(t, "From tag", m.FromTag(), "_token~1'+`*%!-.")
		uri, err := m.URI()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "user", uri.User, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
		equal(t, "password", uri.Password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
	})
	t.Run("escnull", func(t *testing.T) {
		m := parse(t, "escnull")
		to, err := sip.ParseURI(m.To().URI)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "user", to.UserUnescaped(), "null-\x00-null")
		contacts, _ := m.Contacts()
		a, _ := sip.ParseURI(contacts[0].URI)
		b, _ := sip.ParseURI(contacts[1].URI)
		equal(t, "one contact", a.Equal(b), false)
	})
	t.Run("esc02", func(t *testing.T) {
		contacts, _ := parse(t, "esc02").Contacts()
		equal(t, "contacts", len(contacts), 2)
	})
	t.Run("semiuri", func(t *testing.T) {
		uri, err := parse(t, "semiuri").URI()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "user", uri.UserUnescaped(), "user;par=u@example.net")
	})
	t.Run("dblreq", func(t *testing.T) {
		m := parse(t, "dblreq")
		equal(t, "body", len(m.Body()), 0)
	})
	t.Run("cparam", func(t *testing.T) {
		contacts, _ := parse(t, "cparam01").Contacts()
		equal(t, "URI", contacts[0].URI, "sip:+19725552222@gw1.example.net")
		equal(t, "params", contacts[0].Params, ";unknownparam")
		contacts, _ = parse(t, "cparam02").Contacts()
		equal(t, "URI", contacts[0].URI, "sip:+19725552222@gw1.example.net;unknownparam")
	})
	t.Run("via-received", func(t *testing.T) {
		for _, name := range []string{"via-received-param-with-delim", "via-received-param-no-delim"} {
			addr, ok := parse(t, name).Via().ReceivedAddr()
			equal(t, name, ok && addr.String() == "2001:db8::9:255", true)
		}
	})
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !deepEqual(got, want) {
		t.Errorf("%s is %+v, want %+v", what, got, want)
	}
}
