package proxy

import "github.com/sipway/sipway/sip"

// disposition is what the caller would like a proxy to do (RFC 3841 §9.1). queue and
// no-queue are not among it: nothing is queued here. The opposite of each is the rule.
type disposition struct {
	redirect, noCancel, noFork, noRecurse, sequential, parallel bool
}

// readDisposition reads Request-Disposition. Of two directives of one type, which there must
// not be, the first one counts.
func readDisposition(m *sip.Message) (d disposition) {
	if !m.Has(sip.HRequestDisposition) {
		return d
	}
	var seen [5]bool
	for value := range m.Values(sip.HRequestDisposition) {
		kind, set, on := d.directive(value)
		if kind >= len(seen) || seen[kind] {
			continue
		}
		seen[kind] = true
		if set != nil {
			*set = on
		}
	}
	if d.redirect {
		d.noFork, d.noRecurse, d.sequential, d.parallel = false, false, false, false
	}
	return d
}

// directive returns the type of a directive, and what it sets.
func (d *disposition) directive(value string) (kind int, set *bool, on bool) {
	switch {
	case equalFold(value, "proxy"), equalFold(value, "redirect"):
		return 0, &d.redirect, len(value) > len("proxy")
	case equalFold(value, "cancel"), equalFold(value, "no-cancel"):
		return 1, &d.noCancel, len(value) > len("cancel")
	case equalFold(value, "fork"), equalFold(value, "no-fork"):
		return 2, &d.noFork, len(value) > len("fork")
	case equalFold(value, "recurse"), equalFold(value, "no-recurse"):
		return 3, &d.noRecurse, len(value) > len("recurse")
	case equalFold(value, "parallel"):
		return 4, &d.parallel, true
	case equalFold(value, "sequential"):
		return 4, &d.sequential, true
	}
	return 5, nil, false
}
