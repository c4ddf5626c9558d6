package registrar

import (
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

func keyOf(t testing.TB, s string) string {
	t.Helper()
	u, err := sip.ParseURI(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return bindingKey(&store.Binding{}, &u)
}

func TestBindingKeyOfURI(t *testing.T) {
	for _, same := range [][]string{
		{"sip:a@h", "SIP:a@H", "SIPS:a@h", "sip:%61@h", "sip:a@h;ob", "sip:a@h;OB"},
		{"sip:a@h;transport=tcp;x=y", "sip:a@h;X=Y;Transport=TCP", "sip:a@h;x=%59;ob;transport=tc%70"},
		{"sip:alice%40home:pa%3Ass@h:5060", "sip:%61lice%40home:pa%3ass@h:5060"},
		{"tel:+49-30-1;ext=5;phone-context=X", "tel:+49301;phone-context=x;ext=5", "tel:+49(30)1;ext=5;phone-context=x"},
		{"mailto:a@h"},
	} {
		for _, s := range same[1:] {
			if got, want := keyOf(t, s), keyOf(t, same[0]); got != want {
				t.Errorf("%s has the key %s, %s has %s", s, got, same[0], want)
			}
		}
	}
	different := []string{
		"sip:a@h", "sip:A@h", "sip:b@h", "sip:a@i", "sip:h", "sip:a@h:5060", "sip:a:b@h", "sip:a%3ab@h",
		"sip:a@h;transport=tcp", "sip:a@h;transport=udp", "sip:a@h;transport", "sip:a@h;transport=tcp;user=phone",
		"sip:a@h;rinstance=1", "sip:a@h;rinstance=2", "sip:a%40h@h", "sip:a@h;x=%3by", "sip:a@h;x;y",
		"tel:+491", "tel:491", "tel:+491;ext=1", "mailto:a@h", "mailto:A@h",
	}
	keys := make(map[string]string)
	for _, s := range different {
		key := keyOf(t, s)
		if other, ok := keys[key]; ok {
			t.Errorf("%s and %s have the key %s", s, other, key)
		}
		keys[key] = s
	}
}

func TestBindingKeyOfInstance(t *testing.T) {
	u, _ := sip.ParseURI("sip:a@h")
	keys := make(map[string]store.Binding)
	for _, b := range []store.Binding{
		{Instance: "<urn:i>", RegID: 1}, {Instance: "<urn:i>", RegID: 2}, {Instance: "<urn:j>", RegID: 1},
		{Instance: "1;<urn:i>", RegID: 1}, {Instance: "<urn:i>", RegID: 11}, {Instance: "<urn:i>"},
	} {
		key := bindingKey(&b, &u)
		if other, ok := keys[key]; ok {
			t.Errorf("%+v and %+v have the key %s", b, other, key)
		}
		keys[key] = b
	}
	if b := (store.Binding{Instance: "<urn:i>"}); bindingKey(&b, &u) != "sip:a@h" {
		t.Error("an instance alone is no key")
	}
}

// What URI.Equal holds for equal has one key, apart from parameters that only one has.
func FuzzBindingKey(f *testing.F) {
	for _, s := range []string{
		"sip:a@h", "sip:%61@H;transport=TCP;x=%41", "sips:a:b@[::1]:5061;ob?x=y", "tel:+49-30;ext=5", "mailto:x", "sip:a%@h", "sip:h;a;b=;c=\"d\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := sip.ParseURI(s)
		if err != nil {
			return
		}
		key := bindingKey(&store.Binding{}, &u)
		if again, err := sip.ParseURI(key); err == nil && u.IsSIP() {
			if got := bindingKey(&store.Binding{}, &again); got != key {
				t.Errorf("%q has the key %q, which has the key %q", s, key, got)
			}
		}
	})
}

func FuzzWithoutOurs(f *testing.F) {
	for _, s := range []string{"", ";expires=1", ";a;expires=1;b", `;a="x;expires=1";EXPIRES = 3;q=1`, ";expires", ";expiresx=1;expires=2;expires=3", `;Pub-GRUU="sip:x";a;temp-gruu=1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := sip.ParseAddress("<sip:a@h>" + s)
		if err != nil {
			return
		}
		left := sip.Params(withoutOurs(string(a.Params)))
		if left.Has("expires") || left.Has("pub-gruu") || left.Has("temp-gruu") {
			t.Fatalf("%q became %q", a.Params, left)
		}
		// All others are there, as they were.
		var want, got []string
		for name, value := range a.Params.All() {
			if !slices.Contains([]string{"expires", "pub-gruu", "temp-gruu"}, strings.ToLower(name)) {
				want = append(want, name+"="+value)
			}
		}
		for name, value := range left.All() {
			got = append(got, name+"="+value)
		}
		if len(got) != len(want) {
			t.Fatalf("%q became %q", a.Params, left)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%q became %q", a.Params, left)
			}
		}
	})
}
