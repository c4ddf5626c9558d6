package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// Calls looks at the calls that pass a running server.
//
// Errors: store.ErrNotFound, [ErrNoServer], and what [BadRequest] makes.
type Calls interface {
	// ListCalls returns a page of the calls that the query selects, oldest first.
	ListCalls(ctx context.Context, q CallQuery) (CallPage, error)

	// CountCalls returns how many calls the query selects; its limit and place don't count.
	CountCalls(ctx context.Context, q CallQuery) (int, error)

	// ShowCall returns all that is known of the call with an ID, or of those with a Call-ID,
	// or store.ErrNotFound.
	ShowCall(ctx context.Context, id string) ([]Call, error)
}

// CallQuery selects calls. All of its conditions must be met.
type CallQuery struct {
	User      string        // pattern of either side's identity, '*' for any run of characters
	From, To  string        // the same of one side's
	State     string        // one of CallStates
	Transport string        // of either side
	Longer    time.Duration // began so long ago; 0 for any

	Limit int    // of a page, as in [Query]
	After string // CallPage.Next of the page before; "" for the first
}

// CallStates are the states of live calls.
var CallStates = []string{"trying", "early", "confirmed", "ending"}

// CallPage is a part of a list.
type CallPage struct {
	Calls []Call `json:"calls"`
	Next  string `json:"next,omitempty"` // where the list goes on, "" at its end
}

// Moment is a time that is written with milliseconds, by RFC 3339, in UTC.
type Moment struct{ time.Time }

// momentLayout is RFC 3339 with milliseconds, always of the same width.
const momentLayout = "2006-01-02T15:04:05.000Z07:00"

// String returns the time as in JSON.
func (m Moment) String() string { return m.UTC().Format(momentLayout) }

// MarshalText implements [encoding.TextMarshaler].
func (m Moment) MarshalText() ([]byte, error) { return m.UTC().AppendFormat(nil, momentLayout), nil }

// MarshalJSON implements [json.Marshaler].
func (m Moment) MarshalJSON() ([]byte, error) {
	return m.UTC().AppendFormat(nil, `"`+momentLayout+`"`), nil
}

// Call is one call, live or in a call detail record. The names are fixed: scripts read them.
type Call struct {
	ID     string `json:"id"`
	CallID string `json:"call_id"`
	State  string `json:"state"` // one of CallStates, or "ended"
	From   string `json:"from"`  // AOR, or what a foreign URI says
	To     string `json:"to"`    // whom the caller asked for

	Start    Moment  `json:"start"`
	Ring     Moment  `json:"ring,omitzero"`
	Answer   Moment  `json:"answer,omitzero"`
	End      Moment  `json:"end,omitzero"`
	Duration float64 `json:"duration"` // seconds from answer to end, or until now

	Cause  string `json:"cause,omitempty"`  // why it ended
	By     string `json:"by,omitempty"`     // who ended it: caller, callee or server
	Status int    `json:"status,omitempty"` // final response of a call that failed
	Reason string `json:"reason,omitempty"` // phrase of that, or the value of a Reason header field

	Codec  string    `json:"codec,omitempty"` // of the audio that was agreed on
	Caller CallParty `json:"caller"`
	Callee CallParty `json:"callee"`

	SessionInterval int    `json:"session_interval,omitempty"` // seconds (RFC 4028)
	SessionExpires  Moment `json:"session_expires,omitzero"`
	Lost            Moment `json:"lost,omitzero"` // since when a side can't be reached
	ReferTo         string `json:"refer_to,omitempty"`
	Replaces        string `json:"replaces,omitempty"`

	// These are not in lists.
	Legs         []CallLeg     `json:"legs,omitempty"`
	Dialogs      []CallDialog  `json:"dialogs,omitempty"`
	Messages     []CallMessage `json:"messages,omitempty"` // the last ones
	MessageCount int           `json:"message_count,omitempty"`
}

// CallParty is one side of a call.
type CallParty struct {
	Transport string `json:"transport,omitempty"`
	Remote    string `json:"remote,omitempty"`
	Local     string `json:"local,omitempty"`
	Flow      uint64 `json:"flow,omitempty"` // incarnation of the connection, none over UDP
	UserAgent string `json:"user_agent,omitempty"`
	Media     string `json:"media,omitempty"` // what its last SDP says
	// Connection is what the server knows of the way to this side, in what ShowCall returns.
	Connection *State `json:"connection,omitempty"`
}

// CallLeg is a place that the INVITE was sent to.
type CallLeg struct {
	CallParty
	Contact string `json:"contact"`
	Start   Moment `json:"start"`
	Ring    Moment `json:"ring,omitzero"`
	End     Moment `json:"end,omitzero"`
	Status  int    `json:"status,omitempty"`
	// Unanswered says that the status was made by the server, as there was no final answer.
	Unanswered bool `json:"unanswered,omitempty"`
}

// CallDialog is one dialog of a call (RFC 3261 §12), of which forking makes several.
type CallDialog struct {
	FromTag    string `json:"from_tag"`
	ToTag      string `json:"to_tag"`
	State      string `json:"state"`
	CallerCSeq uint32 `json:"caller_cseq"`
	CalleeCSeq uint32 `json:"callee_cseq"`
}

// CallMessage is a message that passed.
type CallMessage struct {
	Time   Moment `json:"time"`
	From   string `json:"from"` // "caller" or "callee"
	Method string `json:"method"`
	Status int    `json:"status,omitempty"` // of a response
}

// Selects reports whether the query selects a call.
func (q *CallQuery) Selects(c *Call, now time.Time) bool {
	matches := func(pattern string, names ...string) bool {
		return pattern == "" || slices.ContainsFunc(names, func(name string) bool { return store.Match(pattern, name) })
	}
	return matches(q.User, c.From, c.To) && matches(q.From, c.From) && matches(q.To, c.To) &&
		(q.State == "" || q.State == c.State) &&
		(q.Transport == "" || q.Transport == c.Caller.Transport || q.Transport == c.Callee.Transport) &&
		now.Sub(c.Start.Time) >= q.Longer
}

// PageSize is the size of the page that the query asks for.
func (q *CallQuery) PageSize() int { return pageSize(q.Limit) }

// values writes the query as the parameters of a URL.
func (q *CallQuery) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{
		"user": q.User, "from": q.From, "to": q.To, "state": q.State, "transport": q.Transport, "after": q.After,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Longer != 0 {
		v.Set("longer", q.Longer.String())
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// parseCallQuery is the inverse of values.
func parseCallQuery(v url.Values) (CallQuery, error) {
	q := CallQuery{
		User: v.Get("user"), From: v.Get("from"), To: v.Get("to"),
		State: v.Get("state"), Transport: strings.ToLower(v.Get("transport")), After: v.Get("after"),
	}
	if q.State != "" && !slices.Contains(CallStates, q.State) {
		return q, BadRequest(fmt.Errorf("state: expects %s, not %q", strings.Join(CallStates, ", "), q.State))
	}
	if _, ok := sip.ParseTransport(q.Transport); q.Transport != "" && !ok {
		return q, BadRequest(fmt.Errorf("transport: expects udp, tcp, tls, ws or wss, not %q", q.Transport))
	}
	if _, err := strconv.ParseUint(q.After, 36, 64); q.After != "" && err != nil {
		return q, BadRequest(fmt.Errorf("after: %q is no place in a list of calls", q.After))
	}
	var err error
	if text := v.Get("longer"); text != "" {
		if q.Longer, err = time.ParseDuration(text); err != nil || q.Longer < 0 {
			return q, BadRequest(fmt.Errorf("longer: expects a duration such as 90s, not %q", text))
		}
	}
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 {
			return q, BadRequest(fmt.Errorf("limit: expects a number of 1 or more, not %q", text))
		}
	}
	return q, nil
}

// routeCalls serves the calls.
func (s *Server) routeCalls(mux *http.ServeMux) {
	calls := s.cfg.Calls
	if calls == nil {
		return
	}
	selected := func(then func(w http.ResponseWriter, r *http.Request, q CallQuery)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			q, err := parseCallQuery(r.URL.Query())
			if err != nil {
				s.fail(w, r, err)
				return
			}
			then(w, r, q)
		}
	}
	mux.HandleFunc("GET /calls", selected(func(w http.ResponseWriter, r *http.Request, q CallQuery) {
		page, err := calls.ListCalls(r.Context(), q)
		if page.Calls == nil {
			page.Calls = []Call{}
		}
		s.reply(w, r, page, err)
	}))
	mux.HandleFunc("GET /calls/count", selected(func(w http.ResponseWriter, r *http.Request, q CallQuery) {
		n, err := calls.CountCalls(r.Context(), q)
		s.reply(w, r, countReply{n}, err)
	}))
	mux.HandleFunc("GET /calls/{id}", func(w http.ResponseWriter, r *http.Request) {
		list, err := calls.ShowCall(r.Context(), r.PathValue("id"))
		s.reply(w, r, CallPage{Calls: list}, err)
	})
}

var _ Calls = (*Client)(nil)

// ListCalls implements [Calls].
func (c *Client) ListCalls(ctx context.Context, q CallQuery) (page CallPage, err error) {
	err = c.call(ctx, http.MethodGet, "/calls", q.values(), nil, &page)
	return page, err
}

// CountCalls implements [Calls].
func (c *Client) CountCalls(ctx context.Context, q CallQuery) (int, error) {
	var reply countReply
	err := c.call(ctx, http.MethodGet, "/calls/count", q.values(), nil, &reply)
	return reply.Count, err
}

// ShowCall implements [Calls].
func (c *Client) ShowCall(ctx context.Context, id string) ([]Call, error) {
	var page CallPage
	err := c.call(ctx, http.MethodGet, "/calls/"+url.PathEscape(id), nil, nil, &page)
	return page.Calls, err
}
