package sip_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// FuzzParse: whatever the bytes, Parse does not panic, an error can be answered, what was
// understood prints so that it is understood the same, an unedited message prints its own
// bytes, and a series of edits leaves every other line as it was.
func FuzzParse(f *testing.F) {
	for i, s := range readAll(f) {
		f.Add(s.raw, uint64(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		m, err := sip.Parse(slices.Clone(raw))
		if err != nil {
			fault, ok := errors.AsType[*sip.Error](err)
			if !ok || fault.Status < 400 || fault.Status > 599 || fault.Offset > len(raw) || fault.Reason == "" {
				t.Fatalf("error is %#v", err)
			}
			if m != nil {
				readEverything(m)
				_ = sip.NewResponse(m, fault.Status, fault.Reason, "t").Bytes()
			}
			return
		}
		printed := m.Bytes()
		// Not written are the line ends before the message and what follows its body.
		if !bytes.Contains(raw, printed) || len(bytes.Trim(raw[:bytes.Index(raw, printed)], "\r\n")) > 0 {
			t.Fatalf("prints\n%q\nwant\n%q", printed, raw)
		}
		if m.Size() != len(printed) {
			t.Fatalf("size is %d, want %d", m.Size(), len(printed))
		}
		again, err := sip.Parse(printed)
		if err != nil {
			t.Fatalf("printed message can't be read: %v", err)
		}
		if a, b := readEverything(m), readEverything(again); a != b {
			t.Fatalf("printed message says\n%s\nwant\n%s", b, a)
		}
		editAtRandom(t, m, rand.New(rand.NewPCG(seed, 0)))
	})
}

// readEverything calls every accessor and returns what they say.
func readEverything(m *sip.Message) string {
	var b strings.Builder
	say := func(parts ...string) { b.WriteString(strings.Join(parts, "|") + "\n") }
	say(string(m.Method()), m.RequestURI(), m.Reason(), m.CallID(), m.FromTag(), m.ToTag(), string(m.Body()))
	say(m.From().String(), m.To().String(), string(m.CSeq().Method))
	if v := m.Via(); v != nil {
		say(v.String(), v.SentBy())
		v.ReceivedAddr()
		v.HasMagicCookie()
	}
	if u, err := m.URI(); err == nil {
		say(u.String(), u.UserUnescaped())
	}
	for name, value := range m.Headers() {
		say(name, value)
	}
	for id := sip.HVia; id.String() != ""; id++ {
		for value := range m.Values(id) {
			say(value)
		}
		for a, err := range m.Addresses(id) {
			if err == nil {
				say(a.String(), a.Tag())
			}
		}
		_, _ = m.Seconds(id)
	}
	contacts, _ := m.Contacts()
	for _, c := range contacts {
		c.Expires()
		c.RegID()
		c.Q()
		say(c.Instance())
	}
	for r := range m.Reasons() {
		say(r.Protocol, r.Text)
	}
	for w := range m.Warnings() {
		say(w.Agent, w.Text)
	}
	_, _, _ = m.SessionExpires()
	_, _, _ = m.Event()
	_, _, _ = m.SubscriptionState()
	_, _, _ = m.ContentType()
	return b.String()
}

// editAtRandom edits m and checks that the lines of header fields that were not edited are
// still there, byte for byte and in their order, and that the result can be read.
func editAtRandom(t *testing.T, m *sip.Message, rnd *rand.Rand) {
	edits := []struct {
		id    sip.HeaderID
		apply func()
	}{
		{sip.HVia, func() { m.PushVia(sip.Via{Transport: "TCP", Host: "192.0.2.1", Branch: "z9hG4bKs", RPort: -1}) }},
		{sip.HRoute, func() { m.PopValue(sip.HRoute) }},
		{sip.HRoute, func() { m.Prepend(sip.HRoute, "<sip:p;lr>") }},
		{sip.HRecordRoute, func() { m.Prepend(sip.HRecordRoute, "<sip:p;lr>") }},
		{sip.HMaxForwards, func() { m.SetMaxForwards(rnd.IntN(256)) }},
		{sip.HSupported, func() { m.Set(sip.HSupported, "path") }},
		{sip.HContact, func() { m.Remove(sip.HContact) }},
		{sip.HPath, func() { m.Append(sip.HPath, "<sip:p;lr>") }},
		{sip.HUnknown, func() { m.AppendNamed("X-New", "y") }},
		{sip.HContentLength, func() { m.SetBody("text/plain", []byte("body")) }},
		{sip.HUnknown, func() {
			if m.IsRequest() {
				m.SetRequestURI("sip:bob@192.0.2.9")
			}
		}},
		{sip.HUnknown, func() { m = m.Clone() }},
	}
	touched := map[sip.HeaderID]bool{}
	before := slices.Collect(lines(m))
	for range rnd.IntN(8) {
		edit := edits[rnd.IntN(len(edits))]
		edit.apply()
		touched[edit.id] = true
	}
	if touched[sip.HContentLength] {
		touched[sip.HContentType] = true
	}
	untouched := func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		id := sip.LookupHeader(strings.TrimSpace(name))
		return !touched[id] || id == sip.HUnknown && !strings.HasPrefix(line, "X-New: y")
	}
	keep := func(all []string) (kept []string) {
		for _, line := range all {
			if untouched(line) && !strings.HasPrefix(line, "X-New: y") {
				kept = append(kept, line)
			}
		}
		return kept
	}
	if got, want := keep(slices.Collect(lines(m))), keep(before); !slices.Equal(got, want) {
		t.Fatalf("lines that were not edited are\n%q\nwant\n%q", got, want)
	}
	again, err := sip.Parse(m.Bytes())
	if fault, ok := errors.AsType[*sip.Error](err); ok && fault.Status == 513 {
		return // had as many lines as there may be
	}
	if err != nil {
		t.Fatalf("edited message can't be read: %v\n%q", err, m)
	}
	if a, b := readEverything(m), readEverything(again); a != b {
		t.Fatalf("edited message says\n%s\nits print\n%s", a, b)
	}
}

// lines yields the header lines of a message as they are written.
func lines(m *sip.Message) func(func(string) bool) {
	return func(yield func(string) bool) {
		head, _, _ := strings.Cut(m.String(), "\r\n\r\n")
		all := strings.Split(head, "\r\n")[1:]
		for i := 0; i < len(all); {
			line := all[i]
			for i++; i < len(all) && (strings.HasPrefix(all[i], " ") || strings.HasPrefix(all[i], "\t")); i++ {
				line += "\r\n" + all[i]
			}
			if !yield(line) {
				return
			}
		}
	}
}

// FuzzURI: a URI that parses prints as it was, means the same when read again, and equals
// itself.
func FuzzURI(f *testing.F) {
	for _, s := range readAll(f) {
		if m, _ := sip.Parse(s.raw); m != nil {
			f.Add(m.RequestURI(), m.To().URI)
		}
	}
	f.Add("sip:alice:secretword@atlanta.com:5061;transport=tcp;x=%41?subject=a%20b&x=y", "sips:[2001:db8::1]:5070")
	f.Add("tel:+1-201-555-0123;phone-context=+1", "TEL:(201)*#;ext=7")
	f.Fuzz(func(t *testing.T, a, b string) {
		u, err := sip.ParseURI(a)
		if err != nil {
			return
		}
		again, err := sip.ParseURI(u.String())
		if err != nil || again != u {
			t.Fatalf("%q prints %q, which is %+v (%v), want %+v", a, u.String(), again, err, u)
		}
		if !u.Equal(u) {
			t.Fatalf("%q does not equal itself", a)
		}
		_ = u.UserUnescaped()
		if v, err := sip.ParseURI(b); err == nil && u.Equal(v) != v.Equal(u) {
			t.Fatalf("%q and %q are equal one way only", a, b)
		}
	})
}

// FuzzAddress: what parses as an address or a Via prints so that it parses to the same.
func FuzzAddress(f *testing.F) {
	for _, s := range readAll(f) {
		if m, _ := sip.Parse(s.raw); m != nil {
			for _, id := range []sip.HeaderID{sip.HFrom, sip.HTo, sip.HContact, sip.HRoute, sip.HVia} {
				for value := range m.Values(id) {
					f.Add(value)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, "\r\n") {
			return // no value of a header field, once it is unfolded
		}
		if a, err := sip.ParseAddress(value); err == nil {
			again, err := sip.ParseAddress(a.String())
			if err != nil || again != a {
				t.Fatalf("%q prints %q, which is %+v (%v), want %+v", value, a, again, err, a)
			}
			for name := range a.Params.All() {
				if !a.Params.Has(name) || a.Params.Without(name).Has(name) {
					t.Fatalf("%q: parameter %q is lost or stays", value, name)
				}
			}
		}
		if v, err := sip.ParseVia(value); err == nil {
			again, err := sip.ParseVia(v.String())
			if err != nil || again != v {
				t.Fatalf("%q prints %q, which is %+v (%v), want %+v", value, &v, again, err, v)
			}
		}
	})
}

// FuzzFramer: however a stream is cut into pieces, the same comes out of it, and a message
// comes out as long as Parse takes it for.
func FuzzFramer(f *testing.F) {
	var stream []byte
	for i, s := range readAll(f) {
		f.Add(s.raw, uint64(i))
		if stream = append(append(stream, s.raw...), "\r\n\r\n"...); i%8 == 7 {
			f.Add(stream, uint64(i))
			stream = nil
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		const limit = 8 << 10
		rnd := rand.New(rand.NewPCG(seed, 1))
		var pieces [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(1+rnd.IntN(200), len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		whole, _ := frames(sip.NewFramer(limit), stream)
		cut, _ := frames(sip.NewFramer(limit), pieces...)
		if !slices.Equal(whole, cut) {
			t.Fatalf("in one piece\n%q\nin several\n%q", whole, cut)
		}
		for _, frame := range whole {
			if m, err := sip.Parse([]byte(frame)); err == nil && m.Size() != len(frame) {
				t.Fatalf("frame has %d bytes, its message %d: %q", len(frame), m.Size(), frame)
			}
		}
	})
}
