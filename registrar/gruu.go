package registrar

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
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
	sum := sha256.Sum256([]byte(callID))
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
		if strings.EqualFold(bare(all[i].Instance), g.instance) { // RFC 3261 §19.1.4
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

// bare returns an instance without its angle brackets.
func bare(instance string) string {
	return strings.TrimSuffix(strings.TrimPrefix(instance, "<"), ">")
}

// appendGRUUs writes the GRUUs of the binding's instance as parameters of its contact
// (RFC 5627 §5.2).
func (q *request) appendGRUUs(list *strings.Builder, b *store.Binding, all []store.Binding) {
	list.WriteString(`;pub-gruu="`)
	list.WriteString(publicGRUU(b))
	list.WriteString(`";temp-gruu="`)
	list.WriteString(q.gruus.temporary(b, all, q.now))
	list.WriteByte('"')
}

// publicGRUU is the AOR with a gr parameter that names the instance (RFC 5627 §5.1), so that
// nothing has to be kept about it and it is valid for as long as the AOR is.
func publicGRUU(b *store.Binding) string {
	user, domain := splitAOR(b.AOR)
	uri := appendEscaped([]byte("sip:"), user, "&=+$,;?/")
	uri = append(append(append(uri, '@'), domain...), ";gr="...)
	return string(appendEscaped(uri, bare(b.Instance), "[]/:&+$"))
}

// splitAOR returns the user, who may have any character in his name, and the domain.
func splitAOR(aor string) (user, domain string) {
	at := strings.LastIndexByte(aor, '@')
	return aor[:at], aor[at+1:]
}

// appendEscaped writes text as a part of a URI in which the characters of also may stand
// besides the unreserved ones (RFC 3261 §25.1).
func appendEscaped(b []byte, s, also string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; unreserved(c) || strings.IndexByte(also, c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// gruuCoder makes and reads temporary GRUUs, which say what they stand for to nobody but us:
// the text is encrypted by AES in counter mode, whose first block is the text's MAC (a
// synthetic IV, as in RFC 5297). A part of the text is random, so that no two GRUUs are the
// same, and its length is a multiple of a block's, so that it hardly tells one user from
// another (RFC 5627 §5.1).
type gruuCoder struct {
	block cipher.Block
	macs  sync.Pool // of hash.Hash
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
	return &gruuCoder{block: block, macs: sync.Pool{New: func() any { return hmac.New(sha256.New, macKey) }}}
}

// temporary returns a new temporary GRUU for the binding's instance; all are the AOR's
// bindings.
func (c *gruuCoder) temporary(b *store.Binding, all []store.Binding, now time.Time) string {
	user, domain := splitAOR(b.AOR)
	text := make([]byte, saltLength, 256)
	rand.Read(text)
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	text = append(text, ms[8-timeLength:]...)
	text = appendCalls(text, b, all)
	instance := bare(b.Instance)
	text = binary.AppendUvarint(text, uint64(len(instance)))
	text = append(text, instance...)
	text = binary.AppendUvarint(text, uint64(len(user)))
	text = append(text, user...)
	for len(text)%aes.BlockSize != 0 {
		text = append(text, 0)
	}
	token := append(c.mac(text, domain), text...)
	cipher.NewCTR(c.block, token[:macLength]).XORKeyStream(token[macLength:], token[macLength:])
	return "sip:" + tempUser + base64.RawURLEncoding.EncodeToString(token) + "@" + domain + ";gr"
}

// appendCalls writes the Call-IDs of the instance's bindings.
func appendCalls(text []byte, b *store.Binding, all []store.Binding) []byte {
	var calls []callDigest
	for i := range all {
		if !strings.EqualFold(all[i].Instance, b.Instance) || len(calls) == maxCalls {
			continue
		}
		if d := digestOf(all[i].CallID); !slices.Contains(calls, d) {
			calls = append(calls, d)
		}
	}
	text = append(text, byte(len(calls)))
	for _, d := range calls {
		text = append(text, d[:]...)
	}
	return text
}

// mac authenticates the text and the domain that it is for.
func (c *gruuCoder) mac(text []byte, domain string) []byte {
	mac := c.macs.Get().(hash.Hash)
	defer c.macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(domain))
	mac.Write([]byte{0})
	mac.Write(text)
	return mac.Sum(make([]byte, 0, 256))[:macLength]
}

// decode reads the token of a temporary GRUU of the domain.
func (c *gruuCoder) decode(token, domain string) (*gruu, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < macLength+saltLength+timeLength+1 {
		return nil, false
	}
	iv, text := raw[:macLength], raw[macLength:]
	cipher.NewCTR(c.block, iv).XORKeyStream(text, text)
	if !hmac.Equal(c.mac(text, domain), iv) {
		return nil, false
	}
	// What is authentic was written by temporary, and is whole.
	g := &gruu{temporary: true}
	var ms [8]byte
	copy(ms[8-timeLength:], text[saltLength:])
	g.made = time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:])))
	r := bytes.NewReader(text[saltLength+timeLength:])
	calls, _ := r.ReadByte()
	for range calls {
		var d callDigest
		r.Read(d[:])
		g.calls = append(g.calls, d)
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
