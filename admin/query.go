package admin

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// Query selects registrations and says how they are listed. All of its conditions must be met.
type Query struct {
	AOR       string        // pattern, '*' for any run of characters; "" for all
	UserAgent string        // a part of the user agent's name, in any case
	Transport string        // "udp", "ws", ...
	Node      string        // the one that has the connection
	Source    string        // address or prefix that the REGISTER came from
	Expiring  time.Duration // expires within that time; 0 for any

	Sort  string // "aor" (or ""), "expires" (soonest first) or "updated" (latest first)
	Limit int    // of a page; 0 means DefaultPage, more than MaxPage counts as MaxPage
	After string // Page.Next of the page before, or an address-of-record; "" for the first
}

// The size of a page.
const (
	DefaultPage = 1000
	MaxPage     = 10_000
)

// Sorts are the orders of a list.
var Sorts = []string{"aor", "expires", "updated"}

// values writes the query as the parameters of a URL.
func (q *Query) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{
		"aor": q.AOR, "user_agent": q.UserAgent, "transport": q.Transport, "node": q.Node, "source": q.Source,
		"sort": q.Sort, "after": q.After,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Expiring != 0 {
		v.Set("expiring", q.Expiring.String())
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// parseQuery is the inverse of values.
func parseQuery(v url.Values) (Query, error) {
	q := Query{
		AOR: v.Get("aor"), UserAgent: v.Get("user_agent"), Transport: v.Get("transport"), Node: v.Get("node"), Source: v.Get("source"),
		Sort: v.Get("sort"), After: v.Get("after"),
	}
	var err error
	if text := v.Get("expiring"); text != "" {
		if q.Expiring, err = time.ParseDuration(text); err != nil || q.Expiring <= 0 {
			return q, BadRequest(fmt.Errorf("expiring: expects a duration such as 90s, not %q", text))
		}
	}
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 {
			return q, BadRequest(fmt.Errorf("limit: expects a number of 1 or more, not %q", text))
		}
	}
	return q, nil
}

// Store is the query as the store takes it.
func (q *Query) Store() (store.Query, error) {
	now := time.Now()
	sq := store.Query{Pattern: q.AOR, UserAgent: q.UserAgent, Node: q.Node, Limit: pageSize(q.Limit), Now: now}
	if q.Transport != "" {
		var ok bool
		if sq.Transport, ok = sip.ParseTransport(q.Transport); !ok {
			return sq, BadRequest(fmt.Errorf("transport: expects udp, tcp, tls, ws or wss, not %q", q.Transport))
		}
	}
	if q.Source != "" {
		var err error
		if sq.Source, err = parsePrefix(q.Source); err != nil {
			return sq, BadRequest(fmt.Errorf("source: expects an address or a prefix, not %q", q.Source))
		}
	}
	if q.Expiring != 0 {
		sq.ExpiresBefore = now.Add(q.Expiring)
	}
	switch q.Sort {
	case "", "aor":
	case "expires":
		sq.Sort = store.ByExpires
	case "updated":
		sq.Sort = store.ByUpdated
	default:
		return sq, BadRequest(fmt.Errorf("sort: expects %s, not %q", strings.Join(Sorts, ", "), q.Sort))
	}
	var err error
	sq.After, err = parseCursor(sq.Sort, q.After)
	return sq, err
}

func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	addr, err := netip.ParseAddr(s)
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), err
}

func pageSize(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}

// A place in a list is "AOR KEY", behind the time in milliseconds where the list is sorted by one.
// What would part it elsewhere is escaped in the AOR.
var (
	escapeAOR   = strings.NewReplacer("%", "%25", " ", "%20")
	unescapeAOR = strings.NewReplacer("%25", "%", "%20", " ")
)

func formatCursor(s store.Sort, b *store.Binding) string {
	c := s.Cursor(b)
	place := escapeAOR.Replace(c.AOR) + " " + c.Key
	if s == store.ByAOR {
		return place
	}
	return strconv.FormatInt(c.At, 10) + " " + place
}

// parseCursor is the inverse of formatCursor. In a list by AOR an AOR alone is the place behind all
// of its bindings.
func parseCursor(s store.Sort, text string) (c store.Cursor, err error) {
	if text == "" {
		return c, nil
	}
	place := text
	if s != store.ByAOR {
		at, rest, _ := strings.Cut(text, " ")
		if c.At, err = strconv.ParseInt(at, 10, 64); err != nil {
			return c, BadRequest(fmt.Errorf("after: %q is no place in a list of this order", text))
		}
		place = rest
	}
	aor, key, found := strings.Cut(place, " ")
	if !found {
		key = "\U0010ffff" // above the keys of real bindings
	}
	c.AOR, c.Key = unescapeAOR.Replace(aor), key
	return c, nil
}
