package store

import (
	"strings"

	"github.com/sipway/sipway/sip"
)

// AppendPublicGRUU writes the public GRUU of a binding with an instance (RFC 5627 §5.1): its
// AOR, with a gr parameter that names the instance. So nothing has to be kept about it, and it
// is valid for as long as the AOR is.
func (b *Binding) AppendPublicGRUU(uri []byte) []byte {
	at := max(0, strings.LastIndexByte(b.AOR, '@'))
	uri = sip.AppendEscaped(append(uri, b.Scheme()...), b.AOR[:at], sip.UserChars)
	uri = append(append(uri, b.AOR[at:]...), ";gr="...)
	return sip.AppendEscaped(uri, b.BareInstance(), sip.ParamChars)
}

// Scheme is that of the binding's GRUUs, with the colon: sips for a sips contact (RFC 5630
// §5.2.1).
func (b *Binding) Scheme() string {
	if sip.IsSIPS(b.Contact) {
		return "sips:"
	}
	return "sip:"
}

// BareInstance returns the instance without its angle brackets.
func (b *Binding) BareInstance() string {
	return strings.TrimSuffix(strings.TrimPrefix(b.Instance, "<"), ">")
}
