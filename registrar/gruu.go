package registrar

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// gruu is what a GRUU stands for (RFC 5627 §3): an AOR and one instance of its user's agents.
type gruu struct {
	aor      string
	instance string // without angle brackets

	// Of a temporary one, when it was made and what then stood in the Call-IDs of the
	// instance's bindings; nothing else has to be kept to tell whether it is still valid.
	temporary bool
	made      time.Time
	calls     []callDigest
}

// callDigest stands for a Call-ID.
type callDigest [6]byte

func digestOf(callID string) (d callDigest) {
	var room [128]byte
	sum := sha256.Sum256(append(room[:0], callID...))
	copy(d[:], sum[:])
	return d
}

// GRUU reads a URI that has a gr parameter and a domain of ours (RFC 5627 §6.1). aor is the
// address-of-record behind it, and of are those of its bindings that the GRUU leads to;
// valid is false for a temporary GRUU that is none any more. ok is false for what was never
// a GRUU of ours.
func (r *Registrar) GRUU(u *sip.URI) (aor string, of func([]store.Binding) (kept []store.Binding, valid bool), ok bool) {
	g, ok := r.gruu(u)
	if !ok {
		return "", nil, false
	}
	return g.aor, g.bindings, true
}

// tempUser begins the user part of a temporary GRUU.
const tempUser = "tgruu."

// gruu reads a GRUU.
func (r *Registrar) gruu(u *sip.URI) (*gruu, bool) {
	domain, ours := r.ownDomain(u.Host)
	gr, has := u.Params.Get("gr")
	if !ours || !has || u.User == "" {
		return nil, false
	}
	if gr != "" {
		value := sip.URI{User: gr}
		return &gruu{aor: u.UserUnescaped() + "@" + domain, instance: value.UserUnescaped()}, true
	}
	token, ok := strings.CutPrefix(u.User, tempUser)
	if !ok || r.gruus == nil {
		return nil, false
	}
	return r.gruus.decode(token, domain)
}

// bindings returns those bindings of the AOR that the GRUU leads to.
func (g *gruu) bindings(all []store.Binding) (kept []store.Binding, valid bool) {
	for i := range all {
		if strings.EqualFold(all[i].BareInstance(), g.instance) { // RFC 3261 §19.1.4
			kept = append(kept, all[i])
		}
	}
	if g.temporary && !g.valid(kept) {
		return nil, false
	}
	return kept, true
}

// valid is RFC 5627 §5.1 and §5.3: a temporary GRUU ends with the last binding of its
// instance, and as soon as the instance registers with another Call-ID. A binding that was
// there when the GRUU was made and is still shows that the instance never was without one,
// and must have the Call-ID that it had then.
func (g *gruu) valid(of []store.Binding) bool {
	since := false
	for i := range of {
		later := of[i].Created.After(g.made)
		if later && of[i].RegID > 0 {
			continue // another flow of the instance, which has a Call-ID of its own
		}
		if !slices.Contains(g.calls, digestOf(of[i].CallID)) {
			return false
		}
		since = since || !later
	}
	return since
}

// appendGRUUs writes the GRUUs of the binding's instance as parameters of its contact
// (RFC 5627 §5.2).
func (q *request) appendGRUUs(list []byte, b *store.Binding, all []store.Binding) []byte {
	list = append(list, `;pub-gruu="`...)
	list = b.AppendPublicGRUU(list)
	list = append(list, `";temp-gruu="`...)
	list = q.gruus.appendTemporary(list, b, all, q.now)
	return append(list, '"')
}

// splitAOR returns the user, who may have any character in his name, and the domain.
func splitAOR(aor string) (user, domain string) {
	at := strings.LastIndexByte(aor, '@')
	return aor[:at], aor[at+1:]
}

// gruuCoder makes and reads temporary GRUUs, which say what they stand for to nobody but us:
// the text is encrypted by AES in counter mode, whose first block is the text's MAC (a
// synthetic IV, as in RFC 5297). A part of the text is random, so that no two GRUUs are the
// same, and its length is a multiple of a block's, so that it hardly tells one user from
// another (RFC 5627 §5.1).
type gruuCoder struct {
	block cipher.Block
	desks sync.Pool // of *gruuDesk
}

// gruuDesk is room to work in, so that a GRUU, which every REGISTER of a browser is answered
// with, costs no allocation.
type gruuDesk struct {
	mac     hash.Hash
	domain  []byte
	token   []byte // the MAC, then the text
	sum     [sha256.Size]byte
	counter [aes.BlockSize]byte
	stream  [aes.BlockSize]byte
}

const (
	macLength  = 16 // of the MAC in a token
	saltLength = 8
	timeLength = 6
	maxCalls   = 64 // in a token; an instance has one or two flows, with a Call-ID each
)

func newGRUUCoder(key []byte) *gruuCoder {
	derive := func(purpose string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(purpose))
		return mac.Sum(nil)
	}
	block, err := aes.NewCipher(derive("sipway gruu encryption"))
	if err != nil {
		panic(err) // of a key of 32 bytes there is none
	}
	macKey := derive("sipway gruu authentication")
	return &gruuCoder{block: block, desks: sync.Pool{New: func() any {
		return &gruuDesk{mac: hmac.New(sha256.New, macKey)}
	}}}
}

// appendTemporary writes a new temporary GRUU for the binding's instance; all are the AOR's
// bindings.
func (c *gruuCoder) appendTemporary(uri []byte, b *store.Binding, all []store.Binding, now time.Time) []byte {
	d := c.desks.Get().(*gruuDesk)
	defer c.desks.Put(d)
	user, domain := splitAOR(b.AOR)
	instance := b.BareInstance()
	t := append(d.token[:0], make([]byte, macLength+saltLength)...)
	rand.Read(t[macLength:])
	ms := uint64(now.UnixMilli())
	t = append(t, byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms))
	t = appendCalls(t, b, all)
	t = append(binary.AppendUvarint(t, uint64(len(instance))), instance...)
	t = append(binary.AppendUvarint(t, uint64(len(user))), user...)
	for (len(t)-macLength)%aes.BlockSize != 0 {
		t = append(t, 0)
	}
	d.token = t
	copy(t, d.authenticate(t[macLength:], domain))
	d.encrypt(c.block, t[macLength:], t[:macLength])
	uri = append(append(uri, b.Scheme()...), tempUser...)
	uri = base64.RawURLEncoding.AppendEncode(uri, t)
	return append(append(append(uri, '@'), domain...), ";gr"...)
}

// appendCalls writes the Call-IDs of the instance's bindings: their number, then the digests.
func appendCalls(t []byte, b *store.Binding, all []store.Binding) []byte {
	count := len(t)
	t = append(t, 0)
	for i := range all {
		if !strings.EqualFold(all[i].Instance, b.Instance) || t[count] == maxCalls {
			continue
		}
		d := digestOf(all[i].CallID)
		known := false
		for rest := t[count+1:]; len(rest) > 0; rest = rest[len(d):] {
			known = known || callDigest(rest[:len(d)]) == d
		}
		if !known {
			t = append(t, d[:]...)
			t[count]++
		}
	}
	return t
}

// authenticate returns the MAC of the text and the domain that it is for, until it is called
// again.
func (d *gruuDesk) authenticate(text []byte, domain string) []byte {
	d.domain = append(append(d.domain[:0], domain...), 0) // which no domain has in it
	d.mac.Reset()
	d.mac.Write(d.domain)
	d.mac.Write(text)
	return d.mac.Sum(d.sum[:0])[:macLength]
}

// encrypt encrypts the text in counter mode, or decrypts it.
func (d *gruuDesk) encrypt(block cipher.Block, text, iv []byte) {
	copy(d.counter[:], iv)
	for len(text) > 0 {
		block.Encrypt(d.stream[:], d.counter[:])
		n := subtle.XORBytes(text, text, d.stream[:])
		text = text[n:]
		for i := len(d.counter) - 1; i >= 0; i-- {
			if d.counter[i]++; d.counter[i] != 0 {
				break
			}
		}
	}
}

// decode reads the token of a temporary GRUU of the domain.
func (c *gruuCoder) decode(token, domain string) (*gruu, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < macLength+saltLength+timeLength+1 {
		return nil, false
	}
	d := c.desks.Get().(*gruuDesk)
	defer c.desks.Put(d)
	iv, text := raw[:macLength], raw[macLength:]
	d.encrypt(c.block, text, iv)
	if !hmac.Equal(d.authenticate(text, domain), iv) {
		return nil, false
	}
	// What is authentic was written by appendTemporary, and is whole.
	g := &gruu{temporary: true}
	var ms uint64
	for _, b := range text[saltLength : saltLength+timeLength] {
		ms = ms<<8 | uint64(b)
	}
	g.made = time.UnixMilli(int64(ms))
	r := bytes.NewReader(text[saltLength+timeLength:])
	calls, _ := r.ReadByte()
	for range calls {
		var call callDigest
		r.Read(call[:])
		g.calls = append(g.calls, call)
	}
	g.instance = readText(r)
	g.aor = readText(r) + "@" + domain
	return g, true
}

func readText(r *bytes.Reader) string {
	n, _ := binary.ReadUvarint(r)
	text := make([]byte, min(n, uint64(r.Len())))
	r.Read(text)
	return string(text)
}
