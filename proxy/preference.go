package proxy

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// preferences are the feature predicates of a request (RFC 3841 §7.2.1).
type preferences struct {
	accept, reject []predicate
	implicit       bool // made of method and event, as the caller said nothing
}

func (p *preferences) some() bool { return p.accept != nil || p.reject != nil }

// predicate is a conjunction: of each tag one of the filters must hold.
type predicate struct {
	tags              map[string][]filter
	require, explicit bool
}

// filter is one value of a feature tag, or all but it (RFC 3841 §8).
type filter struct {
	not      bool
	token    string  // lower case, or a string with its '<'; "" for a number
	low, top float64 // of a range of numbers
}

// Bounds of what is compared: each caller's predicate meets each contact's, and of a tag that
// both have each value meets each. What goes beyond is not read.
const (
	maxPredicates = 32 // of one request
	maxTags       = 32 // of one predicate
	maxFilters    = 32 // of one tag
)

// readPreferences reads Accept-Contact and Reject-Contact.
func readPreferences(m *sip.Message) (p preferences) {
	for name, value := range m.Headers() {
		accept := equalFold(name, "Accept-Contact") || equalFold(name, "a")
		if !accept && !equalFold(name, "Reject-Contact") && !equalFold(name, "j") {
			continue
		}
		for _, element := range splitList(value) {
			rest, ok := strings.CutPrefix(element, "*")
			if !ok {
				continue
			}
			if len(p.accept)+len(p.reject) == maxPredicates {
				return p
			}
			pred := readPredicate(sip.Params(strings.TrimSpace(rest)))
			if accept {
				p.accept = append(p.accept, pred)
			} else {
				p.reject = append(p.reject, pred)
			}
		}
	}
	return p
}

// implied are the preferences of a request without any (RFC 3841 §7.2.2); event is the
// package of a SUBSCRIBE.
func implied(method sip.Method, event string) preferences {
	wanted := predicate{require: true, tags: map[string][]filter{"methods": {{token: strings.ToLower(string(method))}}}}
	if event != "" {
		wanted.tags["events"] = []filter{{token: strings.ToLower(event)}}
	}
	return preferences{accept: []predicate{wanted}, implicit: true}
}

// splitList splits a value at the commas that stand in no quotes.
func splitList(value string) (elements []string) {
	quoted, from := false, 0
	for i := range len(value) {
		switch {
		case value[i] == '"':
			quoted = !quoted
		case value[i] == ',' && !quoted:
			elements = append(elements, strings.TrimSpace(value[from:i]))
			from = i + 1
		}
	}
	return append(elements, strings.TrimSpace(value[from:]))
}

// baseTags are the feature parameters that need no '+' (RFC 3841 §7.2.1).
var baseTags = map[string]bool{
	"audio": true, "automata": true, "class": true, "duplex": true, "data": true, "control": true,
	"mobility": true, "description": true, "events": true, "priority": true, "methods": true,
	"extensions": true, "schemes": true, "application": true, "video": true, "language": true,
	"type": true, "isfocus": true, "actor": true, "text": true,
}

func readPredicate(params sip.Params) predicate {
	p := predicate{tags: make(map[string][]filter)}
	for name, value := range params.All() {
		switch name = strings.ToLower(name); name {
		case "require":
			p.require = true
			continue
		case "explicit":
			p.explicit = true
			continue
		}
		plain, plus := strings.CutPrefix(name, "+")
		if plus == baseTags[name] { // no feature parameter
			continue
		}
		if _, twice := p.tags[plain]; (!twice || !plus) && len(p.tags) < maxTags {
			p.tags[plain] = readFilters(strings.Trim(value, `"`))
		}
	}
	return p
}

// readFilters is RFC 3841 §8.
func readFilters(value string) []filter {
	if value == "" {
		value = "TRUE"
	}
	if value[0] == '<' {
		return []filter{{token: value}}
	}
	var filters []filter
	for v := range strings.SplitSeq(value, ",") {
		if len(filters) == maxFilters {
			break
		}
		var f filter
		if v, f.not = strings.CutPrefix(strings.TrimSpace(v), "!"); strings.HasPrefix(v, "#") {
			f.low, f.top = readRange(v[1:])
		} else {
			f.token = strings.ToLower(v)
		}
		filters = append(filters, f)
	}
	return filters
}

// readRange reads what follows '#': "=5", ">=5", "<=5" or "1:5". What can't be read is an
// empty range.
func readRange(s string) (low, top float64) {
	from, to, isRange := strings.Cut(s, ":")
	switch {
	case isRange:
	case strings.HasPrefix(s, ">="):
		from, to = s[2:], "inf"
	case strings.HasPrefix(s, "<="):
		from, to = "-inf", s[2:]
	case strings.HasPrefix(s, "="):
		from, to = s[1:], s[1:]
	}
	low, err := strconv.ParseFloat(from, 64)
	top, err2 := strconv.ParseFloat(to, 64)
	if err != nil || err2 != nil {
		return math.Inf(1), math.Inf(-1)
	}
	return low, top
}

// meets reports whether there is a value that both filters allow.
func (f filter) meets(g filter) bool {
	if f.not && g.not {
		return true // of the infinitely many values
	}
	if f.not {
		f, g = g, f
	}
	switch {
	case (f.token == "") != (g.token == ""):
		return g.not
	case f.token != "":
		return (f.token == g.token) != g.not
	case g.not:
		return f.low < g.low || f.top > g.top
	}
	return f.low <= g.top && g.low <= f.top
}

func meet(wanted, have []filter) bool {
	for _, f := range wanted {
		if slices.ContainsFunc(have, f.meets) {
			return true
		}
	}
	return false
}

// matches reports whether a contact may be one that the predicate wants (RFC 3841 §7.2.4),
// and for how many of its tags the contact says so itself.
func (p *predicate) matches(contact *predicate) (ok bool, said int) {
	for tag, wanted := range p.tags {
		have, known := contact.tags[tag]
		if !known {
			continue
		}
		said++
		if !meet(wanted, have) {
			return false, said
		}
	}
	return true, said
}

// of returns how much the caller prefers a contact, 0 to 1, and whether it is one he wants
// at all.
func (p *preferences) of(contact *predicate) (qa float64, wanted bool) {
	for i := range p.reject {
		if ok, said := p.reject[i].matches(contact); ok && said == len(p.reject[i].tags) {
			return 0, false
		}
	}
	matching := 0
	for i := range p.accept {
		a := &p.accept[i]
		ok, said := a.matches(contact)
		score := 1.0
		if len(a.tags) > 0 {
			score = float64(said) / float64(len(a.tags))
		}
		if a.explicit && score < 1 {
			ok, score = ok && !a.require, 0
		}
		if !ok && a.require {
			return 0, false
		}
		if ok {
			matching++
			qa += score
		}
	}
	if matching > 0 {
		qa /= float64(matching)
	}
	return qa, true
}

// apply is RFC 3841 §7.2.4: it drops the targets that the caller does not want, and orders
// those of one q by how much he does. A contact without features is immune. What is implied
// by the method only drops, and not all there are: who may be reached rings as if nothing
// had been said.
func (p *preferences) apply(targets []target) []target {
	kept := targets[:0:0]
	for _, t := range targets {
		features, immune := featuresOf(t.hop.client)
		if !immune {
			qa, wanted := p.of(&features)
			if !wanted {
				continue
			}
			if !p.implicit {
				t.rank -= int((1 - qa) * (rankStep - 1))
			}
		}
		kept = append(kept, t)
	}
	if len(kept) == 0 && p.implicit {
		return targets
	}
	return kept
}

// featuresOf returns the contact predicate of a binding (RFC 3841 §7.2.3).
func featuresOf(b *store.Binding) (features predicate, immune bool) {
	if b == nil {
		return features, true
	}
	features = readPredicate(sip.Params(b.Params))
	return features, len(features.tags) == 0
}

// implies reports whether the method alone, of a request without preferences, may drop one
// of the targets: only contacts that name methods or events can be.
func implies(targets []target) bool {
	for i := range targets {
		if b := targets[i].hop.client; b != nil && (b.Methods != "" || strings.Contains(b.Params, "events")) {
			return true
		}
	}
	return false
}
