package sip_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/sipway/sipway/sip"
)

// TestDifferential reads every message of testdata with sipgo's parser as well. Where the
// two understand different things, the difference must be explained here.
func TestDifferential(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range readAll(t) {
		t.Run(s.name, func(t *testing.T) {
			seen[s.name] = true
			ours := readOurs(s.raw)
			theirs := readSipgo(s.raw)
			got := differences(ours, theirs)
			if want := explained[s.name]; got != want.fields {
				t.Errorf("differ in %q, explained are %q", got, want.fields)
				for _, field := range fieldNames {
					if ours[field] != theirs[field] {
						t.Logf("%s: sipway %q, sipgo %q", field, ours[field], theirs[field])
					}
				}
			} else if got != "" && want.why == "" {
				t.Error("no explanation")
			}
		})
	}
	for name := range explained {
		if !seen[name] {
			t.Errorf("%s is explained, but there is no such message", name)
		}
	}
}

// differences names the fields that the parsers understand differently, or says which of
// the two reads the message at all.
func differences(ours, theirs map[string]string) string {
	switch {
	case ours == nil && theirs == nil:
		return ""
	case theirs == nil:
		return onlySipway
	case ours == nil:
		return onlySipgo
	}
	var differ []string
	for _, field := range fieldNames {
		if ours[field] != theirs[field] {
			differ = append(differ, field)
		}
	}
	return strings.Join(differ, " ")
}

var fieldNames = []string{
	"method", "status", "uri", "from-tag", "to-tag", "call-id", "cseq", "via", "branch", "contact", "body",
}

const (
	onlySipway = "only sipway reads it"
	onlySipgo  = "only sipgo reads it"
)

type difference struct{ fields, why string }

// explained has the differences by message, and why each is there.
var explained = map[string]difference{
	"odd-folded-OPTIONS": {"from-tag via branch", "white space around the '=' and ';' of a parameter and behind a sent-by"},
	"odd-tel-INVITE":     {"uri", "sipgo keeps the number of a tel URI apart, as it is no SIP URI"},
	"wsinv":              {"from-tag to-tag", "white space around the '=' and ';' of a parameter"},
	"via-spaces":         {"via branch", "white space around the slashes and the colon of a Via"},
	"via-comma":          {onlySipway, "comma within a quoted string of a Via"},
	"badaspec":           {onlySipway, "white space within angle brackets, which sipway passes over"},
	"crlf-before":        {onlySipway, "empty lines before the start line, which sipgo passes over on streams only"},
	"ipv6-bad":           {onlySipway, "a Request-URI that is none, which sipway reads when it is asked for"},
	"ltgtruri":           {onlySipway, "a Request-URI that is none, which sipway reads when it is asked for"},
	"novelsc":            {onlySipway, "a Request-URI of a scheme with a dot in it"},
	"esc02":              {"contact", "of several Contacts sipgo returns the last, sipway the first"},
	"escnull":            {"contact", "of several Contacts sipgo returns the last, sipway the first"},
	"intmeth":            {"method", "methods are case-sensitive (RFC 3261 §7.1); sipgo writes them in upper case"},
	"regbadct":           {"contact", "sipway refuses a bare URI with headers (RFC 3261 §20.10)"},
	"uri-bad-escape":     {"uri", "sipway refuses an escape that is none"},
	"uri-port":           {"uri", "sipway refuses a port above 65535"},
	"uri-two-ats":        {"uri", "sipway refuses a URI of which it is open what is its host"},
	"ack-broken":         {onlySipgo, "the method of CSeq must be that of the request (RFC 3261 §8.1.1.5)"},
	"mismatch01":         {onlySipgo, "the method of CSeq must be that of the request (RFC 3261 §8.1.1.5)"},
	"mismatch02":         {onlySipgo, "the method of CSeq must be that of the request (RFC 3261 §8.1.1.5)"},
	"baddn":              {onlySipgo, "comma in a display name without quotes"},
	"badvers":            {onlySipgo, "sipgo leaves the version to its user"},
	"callid-space":       {onlySipgo, "white space within a Call-ID"},
	"del-in-from":        {onlySipgo, "control character"},
	"nul":                {onlySipgo, "control character"},
	"smuggled-length":    {onlySipgo, "bare LF, at which sipgo does not end a line"},
	"from-twice":         {onlySipgo, "of two header fields that may stand only once sipgo takes one"},
	"length-twice":       {onlySipgo, "of two header fields that may stand only once sipgo takes one"},
	"mcl01":              {onlySipgo, "of two header fields that may stand only once sipgo takes one"},
	"multi01":            {onlySipgo, "of two header fields that may stand only once sipgo takes one"},
	"insuf":              {onlySipgo, "sipgo leaves it to its user to miss From, To and Call-ID"},
	"via-missing":        {onlySipgo, "sipgo leaves it to its user to miss Via"},
	"max-forwards-256":   {onlySipgo, "Max-Forwards above 255"},
	"space-in-name":      {onlySipgo, "a header name must be a token (RFC 3261 §7.3.1)"},
	"too-many-lines":     {onlySipgo, "sipway limits the lines of a head"},
	"via-angle":          {onlySipgo, "angle bracket in a parameter of Via"},
	"via-port":           {onlySipgo, "port above 65535 in a Via"},
}

func readOurs(raw []byte) map[string]string {
	m, err := sip.Parse(slices.Clone(raw))
	if err != nil {
		return nil
	}
	f := map[string]string{
		"status": strconv.Itoa(m.Status()), "from-tag": m.FromTag(), "to-tag": m.ToTag(), "call-id": m.CallID(),
		"cseq": fmt.Sprint(m.CSeq().Seq, " ", m.CSeq().Method), "branch": m.Via().Branch, "body": string(m.Body()),
		"via": fmt.Sprint(m.Via().Transport, " ", strings.Trim(m.Via().Host, "[]"), " ", m.Via().Port),
	}
	if m.IsRequest() {
		f["method"] = string(m.Method())
		f["uri"] = ourURI(m.RequestURI())
	}
	contacts, err := m.Contacts()
	switch {
	case err != nil:
		f["contact"] = "unreadable"
	case len(contacts) > 0:
		f["contact"] = ourURI(contacts[0].URI)
	}
	return f
}

func ourURI(s string) string {
	u, err := sip.ParseURI(s)
	if err != nil {
		return "unreadable"
	}
	return fmt.Sprint(strings.ToLower(u.Scheme), " ", u.User, " ", u.Password, " ", strings.Trim(u.Host, "[]"), " ", u.Port)
}

func readSipgo(raw []byte) map[string]string {
	msg, err := sipgo.NewParser().ParseSIP(slices.Clone(raw))
	if err != nil {
		return nil
	}
	f := map[string]string{"status": "0", "body": string(msg.Body())}
	var headers interface {
		From() *sipgo.FromHeader
		To() *sipgo.ToHeader
		CallID() *sipgo.CallIDHeader
		CSeq() *sipgo.CSeqHeader
		Via() *sipgo.ViaHeader
		Contact() *sipgo.ContactHeader
	}
	switch m := msg.(type) {
	case *sipgo.Request:
		headers = m
		f["method"] = string(m.Method)
		f["uri"] = theirURI(m.Recipient)
	case *sipgo.Response:
		headers = m
		f["status"] = strconv.Itoa(m.StatusCode)
	}
	if h := headers.From(); h != nil {
		f["from-tag"], _ = h.Params.Get("tag")
	}
	if h := headers.To(); h != nil {
		f["to-tag"], _ = h.Params.Get("tag")
	}
	if h := headers.CallID(); h != nil {
		f["call-id"] = string(*h)
	}
	if h := headers.CSeq(); h != nil {
		f["cseq"] = fmt.Sprint(h.SeqNo, " ", h.MethodName)
	}
	if h := headers.Via(); h != nil {
		f["via"] = fmt.Sprint(h.Transport, " ", strings.Trim(h.Host, "[]"), " ", h.Port)
		f["branch"], _ = h.Params.Get("branch")
	}
	if h := headers.Contact(); h != nil {
		f["contact"] = theirURI(h.Address)
	}
	return f
}

func theirURI(u sipgo.Uri) string {
	return fmt.Sprint(strings.ToLower(u.Scheme), " ", u.User, " ", u.Password, " ", strings.Trim(u.Host, "[]"), " ", u.Port)
}
